"""A clip of the layout at another size: its camera, its sparse depth and its splits."""

import cv2
import numpy as np
import pytest

from ssmde_lib.data.layout import find_clips
from ssmde_lib.data.pack import import_clip, import_data
from ssmde_lib.errors import UserError


@pytest.fixture
def clip(tmp_path):
    folder = tmp_path / "drive"
    (folder / "depth").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(4):
        cv2.imwrite(str(folder / f"{i:06d}.png"), rng.integers(0, 256, (64, 128, 3), np.uint8))
        depth = np.zeros((64, 128), np.uint16)
        depth[10, 20], depth[11, 21] = 256 * 9, 256 * 5  # one pixel of the small map: the near one wins
        cv2.imwrite(str(folder / "depth" / f"{i:06d}.png"), depth)
    np.savetxt(folder / "cam.txt", [[100.0, 0, 63.5], [0, 100, 31.5], [0, 0, 1]])
    (folder / "clip.json").write_text('{"depth_png_units_per_metre": 256, "fps": 10}')
    return folder


def test_import(clip, tmp_path):
    import_clip(clip, tmp_path / "out", (32, 64), limit=3)
    splits = [find_clips(tmp_path / "out", split) for split in ("train", "val", "test")]
    assert [[len(c) for c in clips] for clips in splits] == [[3], [3], [3]]
    small = splits[2][0]
    assert small.size == (32, 64)
    np.testing.assert_allclose(small.K, [[50, 0, 31.5], [0, 50, 15.5], [0, 0, 1]])
    assert small.depth(0)[5, 10] == 5 and (small.depth(0) > 0).sum() == 1
    assert small.dynamic_mask(0) is None and small.poses is None


def test_importing_again_goes_on(clip, tmp_path):
    import_clip(clip, tmp_path / "out", (32, 64))
    import_clip(clip, tmp_path / "out", (32, 64))
    assert len(find_clips(tmp_path / "out", "val")[0]) == 4


def test_tracklets_need_poses(clip, tmp_path):
    with pytest.raises(UserError, match="has no poses"):
        import_clip(clip, tmp_path / "out", (32, 64), tracklets="tracklet_labels.xml")


def test_a_single_clip_is_imported_as_data(clip, tmp_path):
    import_data(clip, tmp_path / "out", (32, 64))
    assert find_clips(tmp_path / "out", "test")[0].size == (32, 64)


def test_a_prepared_set_is_linked_as_it_is(clip, tmp_path):
    prepared = tmp_path / "prepared"
    import_clip(clip, prepared, (32, 64))
    import_data(prepared, tmp_path / "out", (32, 64))
    found = find_clips(tmp_path / "out", "train")[0].path
    assert found.resolve() == (prepared / "train" / "drive").resolve() and (tmp_path / "out" / "train").is_symlink()
    with pytest.raises(UserError, match="was prepared at 32x64, not at 64x64: set height and width"):
        import_data(prepared, tmp_path / "other", (64, 64))
    (prepared / "val").unlink()
    with pytest.raises(UserError, match="has no val.: prepare_video.py makes"):
        import_data(prepared, tmp_path / "lacking", (32, 64))


def test_an_absent_data_folder_is_told(tmp_path):
    with pytest.raises(
        UserError, match="kitti is not there: prepare the data first .docs/data.md., or set data_folder"
    ):
        import_data(tmp_path / "data" / "kitti", tmp_path / "out", (32, 64))
