"""Fetch a large file once: size and licence said first, broken downloads resumed, contents held to a SHA-256."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests
from tqdm import tqdm

from ssmde_lib.errors import UserError


@dataclass(frozen=True)
class Weights:
    """A file to download: where from, its size in bytes, its SHA-256 (None: recorded by the first download), its licence."""

    name: str
    url: str
    size: int
    sha256: str | None
    licence: str


def fetch(weights: Weights, folder: str | Path | None = None, alternative: str = "") -> Path:
    """The file's path in `folder` (default: the user's cache), downloaded on first use.

    `alternative` ends the sentence of the UserError that is raised when the file cannot be fetched or is not what it should be.
    """
    folder = Path(folder or pooch.os_cache("ssmde"))
    path, record = folder / weights.name, folder / f"{weights.name}.sha256"
    sha256 = weights.sha256 or (record.read_text().strip() if record.is_file() else None)
    if not path.is_file():
        print(
            f"Downloading {weights.name}: {weights.size / 1e6:.0f} MB from {weights.url}. Licence: {weights.licence}."
        )
    try:
        pooch.retrieve(weights.url, sha256, weights.name, folder, downloader=resume(folder / f"{weights.name}.part"))
    except (requests.RequestException, ValueError, OSError) as error:
        reason = (
            "its checksum is wrong" if isinstance(error, ValueError) and "hash" in str(error) else type(error).__name__
        )
        raise UserError(
            f"{weights.name} could not be fetched ({reason}): download it from {weights.url} to {path}{alternative}."
        ) from error
    if sha256 is None:
        record.write_text(pooch.file_hash(str(path)))
    return path


def resume(part: Path):
    """A downloader for pooch that goes on where the `part` file ends."""

    def download(url: str, output: str, _) -> None:
        done = part.stat().st_size if part.is_file() else 0
        with requests.get(url, stream=True, timeout=30, headers={"Range": f"bytes={done}-"} if done else {}) as answer:
            if answer.status_code != 416:  # 416: nothing is missing
                answer.raise_for_status()
                goes_on = answer.status_code == 206
                total = int(answer.headers.get("content-length", 0)) + done * goes_on
                with (
                    part.open("ab" if goes_on else "wb") as file,
                    tqdm(total=total, initial=done * goes_on, unit="B", unit_scale=True) as bar,
                ):
                    for block in answer.iter_content(1 << 14):
                        file.write(block)
                        bar.update(len(block))
                if total and part.stat().st_size < total:
                    raise requests.ConnectionError("the connection ended early")
        shutil.move(part, output)

    return download
