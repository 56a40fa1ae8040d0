"""Where pictures come from: an image, a folder, a video or a webcam, in batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ssmde_lib import opencv as cv2
from ssmde_lib.data.images import is_still, list_frames, read_image
from ssmde_lib.data.video import quiet_opencv, video_facts
from ssmde_lib.errors import UserError

BATCH_PIXELS = 2**24  # of a batch, two frames of 4K: what a prediction needs in memory grows with them


@dataclass
class Source:
    """Where pictures come from.

    `origin` is their folder, video or webcam. `moving` sources are one sequence, whose scale is kept steady and of
    which a video is made.
    """

    origin: str
    frames: Iterator[tuple[str, UInt8[np.ndarray, "h w 3"] | UserError]]
    count: int | None
    moving: bool
    fps: float = 10.0


def open_source(source: str | Path, limit: int | None = None) -> Source:
    """An image, a folder of images (read in the natural order of their names), a video file, or a webcam's number.

    A picture that cannot be read comes as its UserError in the picture's place, so that the others are not lost.
    """
    path = Path(source)
    if path.is_dir():
        paths = list_frames(path)[:limit]
        if not paths:
            raise UserError(f"{path} holds no images (.png, .jpg, …): point to a folder of images.")
        return Source(str(path.resolve()), read_images(paths), len(paths), moving=False)
    if str(source).isdigit() and not path.exists():
        return open_video(
            int(str(source)), f"webcam {source}", "check that it is plugged in and its number right", limit
        )
    if not path.is_file():
        raise UserError(f"{source} does not exist: give an image, a folder, a video or a webcam's number.")
    if is_still(path):
        return Source(str(path.resolve().parent), read_images([path]), 1, moving=False)
    return open_video(str(path.resolve()), str(path), "check the file, or convert it to .mp4 or .webm", limit)


def read_images(paths: list[Path]) -> Iterator[tuple[str, UInt8[np.ndarray, "h w 3"] | UserError]]:
    """(name, image) of each file, or (name, UserError)."""
    for path in paths:
        try:
            yield path.stem, read_image(path)
        except UserError as error:
            yield path.stem, error


def open_video(source: str | int, name: str, way_out: str, limit: int | None) -> Source:
    """A video file or a webcam as a source."""
    with quiet_opencv():
        capture = cv2.VideoCapture(source)
    if not capture.isOpened():
        raise UserError(f"{name} cannot be opened as a video: {way_out}.")
    count, fps = video_facts(Path(source)) if isinstance(source, str) else (None, capture.get(cv2.CAP_PROP_FPS) or 10.0)
    count = min(count, limit) if count and limit else count or limit
    return Source(str(source), read_video(capture, limit), count, moving=True, fps=fps)


def read_video(capture, limit: int | None) -> Iterator[tuple[str, UInt8[np.ndarray, "h w 3"]]]:
    """(number, image) of each frame; the capture is released at the end."""
    try:
        number = 0
        while limit is None or number < limit:
            read, frame = capture.read()
            if not read:
                return
            yield f"{number:06d}", cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            number += 1
    finally:
        capture.release()


def batches(frames: Iterator, size: int) -> Iterator[list[tuple[str, np.ndarray | UserError]]]:
    """Successive frames of one picture size, at most `size` and BATCH_PIXELS of them; a UserError comes alone."""
    batch = []
    for name, image in frames:
        broken = isinstance(image, UserError)
        if batch and (broken or len(batch) == size or not fits(batch, image)):
            yield batch
            batch = []
        if broken:
            yield [(name, image)]
        else:
            batch.append((name, image))
    if batch:
        yield batch


def fits(batch: list[tuple[str, np.ndarray]], image: UInt8[np.ndarray, "h w 3"]) -> bool:
    """Whether a picture has the size of a batch's and may join them."""
    return batch[0][1].shape == image.shape and (len(batch) + 1) * image[..., 0].size <= BATCH_PIXELS
