"""Readers and options under random input: the right result or one sentence, never a traceback.

At the size of CI a few hundred tries; `HYPOTHESIS_TRIES=2000 python -m pytest tests/test_cases_fuzz.py` makes more.
"""

import io
import os
import string
from contextlib import suppress
from itertools import pairwise

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from test_cli import weights  # noqa: F401

from ssmde_lib.cli import main
from ssmde_lib.data.images import list_frames, natural_key, read_image
from ssmde_lib.data.intrinsics import check_intrinsics, exif_focal, read_intrinsics
from ssmde_lib.data.layout import Clip, read_map
from ssmde_lib.data.video import split_blocks
from ssmde_lib.errors import UserError
from ssmde_lib.networks import checkpoint

TRIES = int(os.environ.get("HYPOTHESIS_TRIES", 60))
fuzz = settings(
    max_examples=TRIES, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


def encoded(kind: str) -> bytes:
    """A small picture in a format."""
    picture = np.random.default_rng(0).integers(0, 255, (9, 13, 3), np.uint8)
    if kind == "exif":
        exif = Image.Exif()
        exif[0x0112] = 6
        exif.get_ifd(0x8769)[0xA405] = 26
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", exif=exif)
        return buffer.getvalue()
    if kind == "png16":
        return cv2.imencode(".png", picture[..., 0].astype(np.uint16) * 257)[1].tobytes()
    return cv2.imencode(f".{kind}", picture)[1].tobytes()


PICTURES = {kind: encoded(kind) for kind in ("png", "jpg", "webp", "bmp", "tiff", "exif", "png16")}


@st.composite
def files(draw) -> bytes:
    """Random bytes, or a picture that is cut or has some bytes changed."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=300))
    content = bytearray(PICTURES[draw(st.sampled_from(sorted(PICTURES)))])
    for _ in range(draw(st.integers(0, 4))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.integers(0, len(content)))])


@fuzz
@given(content=files(), suffix=st.sampled_from([".png", ".jpg", ".webp", ".tif", ".bmp", ".heic", ""]))
def test_pictures(tmp_path, content, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    for read in (read_image, lambda path: read_map(path, "depth")):
        try:
            image = read(path)
            assert image.dtype in (np.uint8, np.uint16) and image.size
        except UserError:
            pass
    assert exif_focal(path, (9, 13)) >= 0
    path.unlink()


NAMES = st.text(string.ascii_letters + string.digits + " ._-()äß", min_size=1, max_size=12)


@fuzz
@given(names=st.lists(NAMES, max_size=6, unique_by=str.lower))
def test_names_of_frames(tmp_path, names):
    folder = tmp_path / "frames"
    folder.mkdir()
    for name in names:
        (folder / f"{name}.png").write_bytes(PICTURES["png"])
    found = [path.name for path in list_frames(folder)]
    assert found == sorted(found, key=natural_key) and len(set(found)) == len(found)
    visible = [name for name in names if not name.startswith((".", "~"))]
    assert bool(found) == bool(visible)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=32) | st.sampled_from([0.0, 1.0, 320.0, 96.0, -371.0])


@fuzz
@given(values=st.lists(NUMBERS, min_size=9, max_size=9), size=st.tuples(st.integers(1, 4000), st.integers(1, 4000)))
def test_intrinsics(values, size):
    sentence = check_intrinsics(np.array(values).reshape(3, 3), size)
    assert sentence == "" or (sentence.startswith("the intrinsics") and sentence.endswith((".", "?")))


@fuzz
@example(b"0")
@given(text=st.text(string.printable, max_size=80) | st.binary(max_size=80))
def test_text_files(tmp_path, text):
    path = tmp_path / "cam.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError):
        read_intrinsics(path, (192, 640))
    (tmp_path / "0.png").write_bytes(PICTURES["png"])
    (tmp_path / "clip.json").write_bytes(path.read_bytes())
    clip = Clip(tmp_path)
    for attribute in ("about", "K", "poses"):
        with suppress(UserError):
            getattr(clip, attribute)


@fuzz
@given(content=st.binary(max_size=200), suffix=st.sampled_from([".safetensors", ".ckpt", ".pth", ".pt", ""]))
def test_checkpoints(tmp_path, content, suffix):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError):
        checkpoint.load(path)


@fuzz
@given(count=st.integers(0, 3000), split=st.sampled_from([None, "train", "test"]))
def test_blocks_of_time(count, split):
    parts = split_blocks(list(range(count)), split)
    frames = [frame for _, part in parts for frame in part]
    assert len(set(frames)) == len(frames)
    for (_, one), (_, other) in pairwise(parts):
        assert min(len(one), len(other)) >= 3 and other[0] - one[-1] == 2


VALUES = st.sampled_from(["0", "1", "-1", "nan", "1e400", "", " ", "no", "cpu", "🙂", "..", "/dev/null", "a" * 300])
OPTIONS = st.sampled_from(
    ["--ply", "--ply-stride", "--fov", "--batch", "--limit", "--device", "--checkpoint", "--data", "--weights",
     "--split", "--protocol", "--alignment", "--flip", "-o", "-p", "--seed", "--frame-stride", "--onnx", "--size"]
)  # fmt: skip


@fuzz
@given(
    command=st.sampled_from(["predict", "evaluate", "train", "export"]),
    words=st.lists(OPTIONS | VALUES, max_size=6),
)
def test_options(tmp_path, monkeypatch, command, words):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [command, *words])
    assert result.exit_code in (0, 1, 2), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
