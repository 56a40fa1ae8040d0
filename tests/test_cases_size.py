"""Large input: 4K frames and long recordings stay within memory."""
# ruff: noqa: F401, F811 (fixtures are used by their name)

from functools import partial
from pathlib import Path

import cv2
import numpy as np
from test_cases_further import TINY, clip, make_clip

from ssmde_lib.data.layout import Clip, parts_of, read_label
from ssmde_lib.inference import consistency
from ssmde_lib.inference.clips import predict_motion
from ssmde_lib.inference.consistency import measure_consistency
from ssmde_lib.inference.sources import batches
from ssmde_lib.inference.writers import VideoFile, side_by_side, write_point_cloud
from ssmde_lib.labels.filters import Filter
from ssmde_lib.networks import checkpoint
from ssmde_lib.pipeline import stages
from ssmde_lib.pipeline.stages import write_labels


def test_4k_is_predicted_two_frames_at_once(tmp_path):
    frame = np.broadcast_to(np.uint8(7), (2160, 3840, 3))
    found = [len(batch) for batch in batches(iter([(str(i), frame) for i in range(5)]), 8)]
    assert found == [2, 2, 1]


def test_the_video_of_4k_is_one_that_a_browser_plays(tmp_path):
    frame, video = np.full((2160, 3840, 3), 90, np.uint8), VideoFile(tmp_path / "a.webm", 10)
    video.write(side_by_side(frame, frame))
    video.close()
    assert cv2.VideoCapture(str(tmp_path / "a.webm")).read()[1].shape == (360, 1280, 3)
    assert side_by_side(frame[:1000], frame[:1000]).shape == (666, 1280, 3), "wide pictures stand above each other"


def test_a_cloud_of_50_megapixels_stays_below_20_megabytes(tmp_path):
    depth, image = np.ones((6000, 8000), np.float32), np.broadcast_to(np.uint8(7), (6000, 8000, 3))
    write_point_cloud(tmp_path / "0.ply", depth, image, np.array([[7000.0, 0, 4000], [0, 7000, 3000], [0, 0, 1]]))
    assert 5e6 < (tmp_path / "0.ply").stat().st_size < 2e7


class Long(Clip):
    """The same frames again and again, and how many of them were asked for by one call."""

    largest = 0

    def __init__(self, path: Path, count: int):
        super().__init__(path)
        self.frames = (self.frames * count)[:count]


def test_a_long_recording_is_measured_in_parts(clip, monkeypatch):
    asked = []
    monkeypatch.setattr(
        consistency,
        "predict_motion",
        lambda net, part, stride: asked.append(len(part)) or predict_motion(net, part, stride),
    )
    model = TINY.build(0).eval()
    long = Long(clip, 403)
    whole = measure_consistency(model.depth_net, model.pose_net, [long])
    assert max(asked) <= 202 and np.isfinite(list(whole.values())).all()


def test_motion_needs_the_memory_of_a_batch(clip):
    import tracemalloc

    model = TINY.build(0).eval()
    predict_motion(model.pose_net, Long(clip, 20), 1)
    tracemalloc.start()
    assert predict_motion(model.pose_net, Long(clip, 200), 1).shape == (199, 4, 4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * 64 * 96 * 3  # bytes: of far fewer than 200 pictures


def test_labels_made_in_parts_are_those_of_the_whole_clip(tmp_path, monkeypatch):
    clip = make_clip(tmp_path / "data/clip", 24)
    model = TINY.build(0).eval()
    for name in ("depth", "pose"):
        checkpoint.save(getattr(model, f"{name}_net"), tmp_path / f"{name}.safetensors", {})
    labels = []
    for length in (24, 4):
        monkeypatch.setattr(stages, "parts_of", partial(parts_of, length=length))
        write_labels(tmp_path / str(length), clip, tmp_path, Filter("plain"))
        labels.append([read_label(Clip(clip), tmp_path / str(length), i) for i in range(1, 23)])
    for (depth, mask), (other, other_mask) in zip(*labels, strict=True):
        np.testing.assert_allclose(depth, other, rtol=2e-3)
        assert (mask != other_mask).float().mean() < 0.01
