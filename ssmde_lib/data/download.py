"""Downloads that resume and are held to a checksum, and archives unpacked without trusting them.

Where no checksum is published, the first download's is recorded in `checksums.json` beside it and later ones are held
to it.
"""

import json
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import click
import pooch
import requests
from tqdm import tqdm

from ssmde_lib.errors import UserError
from ssmde_lib.files import write_json

CHUNK = 1 << 20
ASSUMED_SPEED = 10e6  # bytes a second, for the time that is announced
TIMEOUT = 30  # seconds without an answer


@dataclass(frozen=True)
class Remote:
    """A file to download: `checksum` is pooch's "sha256:…" or "md5:…" where one is published."""

    url: str
    licence: str
    checksum: str | None = None

    @property
    def name(self) -> str:
        """The file's name on the server and on disk."""
        return PurePosixPath(self.url).name


class Absent(UserError):
    """The server answers that it does not have the file."""


def download(remote: Remote, folder: str | Path) -> Path:
    """The file in `folder`, downloaded if need be.

    Prints size, time and licence first, resumes `NAME.part`, and verifies the checksum.

    Raises UserError when the server does not answer or does not have the file (Absent), when the disk is too small,
    when the transfer ends early (run again to resume) and when the checksum is not the published or recorded one.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    records = folder / "checksums.json"
    recorded = json.loads(records.read_text()) if records.is_file() else {}
    expected = remote.checksum or recorded.get(remote.name)
    path = folder / remote.name
    if path.is_file() and not pooch.hashes.hash_matches(path, expected):
        raise UserError(f"{path} does not have the checksum {expected}: delete it to download it again.")
    try:
        resumed: Any = partial(resume, licence=remote.licence)  # pooch asks for two arguments more than it passes
        pooch.retrieve(remote.url, expected, remote.name, folder, downloader=resumed)
    except requests.RequestException as error:
        status = error.response.status_code if error.response is not None else None
        reason = f"status {status}" if status else type(error).__name__
        raise (Absent if status in (403, 404) else UserError)(
            f"{remote.url} cannot be downloaded now ({reason}): run again to resume, or put the file into {folder}."
        ) from None
    except ValueError:
        raise UserError(
            f"{remote.url} does not have the checksum {expected}: nothing was kept; run again, or ask its publisher."
        ) from None
    if expected is None:
        write_json(records, recorded | {remote.name: f"sha256:{pooch.file_hash(str(path))}"})
    return path


def resume(url: str, output_file: str, _pooch, licence: str) -> None:
    """A downloader for pooch that goes on where `NAME.part` ends, if the server's file is still the same one."""
    part = Path(output_file).parent / f"{PurePosixPath(url).name}.part"
    tag_file = part.with_suffix(".part-etag")
    done = part.stat().st_size if part.is_file() and tag_file.is_file() else 0
    headers = {"Range": f"bytes={done}-", "If-Range": tag_file.read_text()} if done else {}
    with requests.get(url, headers={"Accept-Encoding": "identity"} | headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code != 416:  # 416: nothing is missing any more
            response.raise_for_status()
            done = done if response.status_code == 206 else 0
            size = done + int(response.headers.get("Content-Length", 0))
            announce(part.with_suffix(""), size, size - done, licence)
            tag = response.headers.get("ETag") or response.headers.get("Last-Modified")
            if tag:
                tag_file.write_text(tag)
            # Keep what came of a broken transfer; the size is checked below.
            response.raw.enforce_content_length = False
            with (
                open(part, "ab" if done else "wb") as file,
                tqdm(total=size, initial=done, unit="B", unit_scale=True) as bar,
            ):
                for chunk in response.iter_content(CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
            if part.stat().st_size < size:
                raise requests.ConnectionError("the transfer ended early")
    shutil.move(part, output_file)
    tag_file.unlink(missing_ok=True)


def announce(path: Path, size: int, missing: int, licence: str) -> None:
    """Say what is about to be fetched, and refuse when the disk cannot hold it."""
    minutes = missing / ASSUMED_SPEED / 60
    click.echo(
        f"{path.name}: {size / 1e6:,.1f} MB, about {minutes:.0f} min at {ASSUMED_SPEED / 1e6:.0f} MB/s; "
        f"licence: {licence}"
    )
    require_space(path.parent, missing, f"download {path.name}")


def require_space(folder: Path, needed: int, purpose: str) -> None:
    """UserError where the disk has fewer free bytes than needed."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder} has {free / 1e9:.2f} GB free but {needed / 1e9:.2f} GB are needed to {purpose}: "
            "use another disk."
        )


def unpack(archive: str | Path, folder: str | Path, wanted: Callable[[str], bool] = lambda name: True) -> None:
    """Unpack the wanted files of a .zip, .tar, .tgz or .tar.gz below `folder`; once done, `ARCHIVE.unpacked` says so.

    A member that is a link or a device, or whose path leaves the folder, is a UserError, as is a damaged archive.
    """
    archive, folder = Path(archive), Path(folder)
    done = archive.with_name(archive.name + ".unpacked")
    if done.is_file() and done.read_text() == str(folder.resolve()):
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        (unpack_zip if archive.suffix == ".zip" else unpack_tar)(archive, folder, wanted)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, NotImplementedError) as error:
        raise UserError(
            f"{archive} cannot be unpacked ({str(error).splitlines()[0]}): delete it and download it again."
        ) from None
    done.write_text(str(folder.resolve()))


def unpack_zip(archive: Path, folder: Path, wanted: Callable[[str], bool]) -> None:
    """Unpack the wanted members, those already unpacked at their full size excepted."""
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        for member in members:
            kind = stat.S_IFMT(member.external_attr >> 16)
            check_member(archive, member.filename, kind in (0, stat.S_IFREG, stat.S_IFDIR))
        members = [member for member in members if not member.is_dir() and wanted(member.filename)]
        require_space(folder, sum(member.file_size for member in members), f"unpack {archive.name}")
        for member in tqdm(members, desc=archive.name, unit="file"):
            with file.open(member) as source:
                write_member(folder / member.filename, source)


def unpack_tar(archive: Path, folder: Path, wanted: Callable[[str], bool]) -> None:
    """Unpack the wanted members while the archive is read once."""
    with tarfile.open(archive) as file:
        for member in tqdm(file, desc=archive.name, unit="file"):
            check_member(archive, member.name, member.isreg() or member.isdir())
            if member.isreg() and wanted(member.name):
                require_space(folder, member.size, f"unpack {archive.name}")
                write_member(folder / member.name, file.extractfile(member))
        while file.fileobj.read(CHUNK):  # to the end, where the checksum of a compressed archive is
            pass


def check_member(archive: Path, name: str, is_plain: bool) -> None:
    """UserError for a member that would leave the folder, or is no plain file."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[:1] or not is_plain:
        raise UserError(
            f"{archive} holds {name!r}, a link, a device or a path out of its folder: it is not the official file; "
            "delete it."
        )


def write_member(path: Path, source) -> None:
    """Write one file; a link that lies in the way is replaced, never followed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        path.unlink()
    with open(path, "wb") as target:
        shutil.copyfileobj(source, target, CHUNK)
