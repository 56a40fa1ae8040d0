"""The worlds: every output against the others, masks, failure_cases, and what lies on disk."""

import dataclasses
import json
from itertools import pairwise

import cv2
import numpy as np
import pytest

from ssmde_lib.data.layout import Clip, find_clips
from ssmde_lib.errors import UserError
from ssmde_lib.synthetic import FAILURE_CASES, render, render_clip, write_world
from ssmde_lib.synthetic.room import room
from ssmde_lib.synthetic.street import street

WORLDS = {"street": (street, 64, 192), "room": (room, 96, 128)}
SEEDS = (0, 1, 2, 3)


@pytest.fixture(scope="module", params=[(w, s) for w in WORLDS for s in SEEDS], ids=lambda p: f"{p[0]}{p[1]}")
def pair(request):
    """Two consecutive frames of a world."""
    world, seed = request.param
    return list(render_clip(world, seed, 2, *WORLDS[world][1:]))


def pixels(frame):
    return np.stack(np.meshgrid(np.arange(frame.depth.shape[1]), np.arange(frame.depth.shape[0])), -1).astype(
        np.float64
    )


def points(frame):
    """Camera-frame points of the pixel centres, h w 3, by the definition of depth."""
    return (
        np.concatenate([pixels(frame), np.ones((*frame.depth.shape, 1))], -1)
        @ np.linalg.inv(frame.K).T
        * frame.depth[..., None]
    )


def reproject(frame, following):
    """Where static points of `frame` are in the following one: pixels h w 2 and depth h w."""
    T = np.linalg.inv(following.T_world_cam) @ frame.T_world_cam
    with np.errstate(invalid="ignore"):
        moved = points(frame) @ T[:3, :3].T + T[:3, 3]
        projected = moved @ frame.K.T
        return projected[..., :2] / projected[..., 2:], moved[..., 2]


def sample(image, where, how=cv2.INTER_LINEAR):
    return cv2.remap(image.astype(np.float32), *where.astype(np.float32).transpose(2, 0, 1), how, borderValue=-1)


def static(frame):
    return np.isfinite(frame.depth) & (frame.dynamic_mask == 0)


def test_flow_is_the_projection_of_depth_and_motion(pair):
    where, _ = reproject(*pair)
    keep = static(pair[0]) & (np.abs(where - pixels(pair[0])).max(-1) < 100)
    assert keep.mean() > 0.5
    np.testing.assert_allclose((pixels(pair[0]) + pair[0].flow)[keep], where[keep], atol=4e-3)


def test_depth_and_pose_rebuild_the_neighbour(pair):
    """Warping the next frame leaves a median grey difference below 1.5 of 255, off occlusions and dynamic objects."""
    frame, following = pair
    where, depth = reproject(frame, following)
    seen = sample(following.depth, where)
    keep = (
        static(frame)
        & (np.abs(seen - depth) < 0.03 * depth)
        & (sample(following.dynamic_mask, where, cv2.INTER_NEAREST) == 0)
    )
    assert keep.mean() > 0.35
    warped = np.abs(sample(following.rgb, where) - frame.rgb)[keep]
    unwarped = np.abs(following.rgb.astype(float) - frame.rgb)[keep]
    assert warped.mean() < 5.5 and np.median(warped) < 1.5 and warped.mean() < 0.4 * unwarped.mean()


def test_flow_carries_movers_along(pair):
    frame, following = pair
    moving = (frame.dynamic_mask > 0) & np.isfinite(frame.flow).all(-1)
    moving &= cv2.erode(moving.astype(np.uint8), np.ones((3, 3))).astype(
        bool
    )  # off the silhouette, mostly not newly hidden
    where = pixels(frame) + frame.flow
    inside = moving & (where >= 0).all(-1) & (where <= np.array(frame.depth.shape[::-1]) - 1).all(-1)
    if inside.sum() < 20:
        pytest.skip("hardly any mover in these two frames")
    assert (sample(following.instance, where, cv2.INTER_NEAREST) == frame.instance)[inside].mean() > 0.85
    ego, _ = reproject(frame, following)
    assert np.linalg.norm(where - ego, axis=-1)[inside].max() > 0.3  # they do move


def test_normals_are_those_of_the_depth(pair):
    frame = pair[0]
    p = points(frame)
    with np.errstate(invalid="ignore"):
        normal = np.cross(p[1:-1, 2:] - p[1:-1, :-2], p[2:, 1:-1] - p[:-2, 1:-1])
        normal /= -np.linalg.norm(normal, axis=-1, keepdims=True)  # towards the camera
        inner = frame.normal[1:-1, 1:-1]
        flat = np.ones(inner.shape[:2], bool)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):  # away from edges: all nine normals agree, and the surface continues
                h, w = inner.shape[:2]
                other = frame.normal[1 + dy : 1 + dy + h, 1 + dx : 1 + dx + w]
                flat &= (other * inner).sum(-1) > 0.9999
                flat &= np.abs(((p[1 + dy : 1 + dy + h, 1 + dx : 1 + dx + w] - p[1:-1, 1:-1]) * inner).sum(-1)) < 0.002
    assert flat.mean() > 0.25
    assert (inner[flat] * p[1:-1, 1:-1][flat]).sum(-1).max() < 0
    angle = np.degrees(np.arccos(np.clip((normal * inner).sum(-1)[flat], -1, 1)))
    assert np.quantile(angle, 0.99) < 1.0
    lengths = np.linalg.norm(frame.normal, axis=-1)
    np.testing.assert_allclose(lengths, np.isfinite(frame.depth), atol=1e-4)


@pytest.mark.parametrize("world", WORLDS)
def test_mover_mask_is_exactly_what_movers_change(world):
    build, height, width = WORLDS[world]
    shot = build(np.random.default_rng(1), 10, height, width)
    empty = dataclasses.replace(shot.scene, primitives=[p for p in shot.scene.primitives if not p.mover])
    for t in (0, 9):
        full, without = (render(s, shot.K, shot.camera(t), height, width, t) for s in (shot.scene, empty))
        np.testing.assert_array_equal(full.dynamic_mask > 0, full.depth != without.depth)
        assert (full.dynamic_mask > 0).any()


def test_movers_matter():
    """Movers cover several per cent of the street's pixels, and are in most clips."""
    takes = [street(np.random.default_rng(seed), 30, 64, 192) for seed in range(8)]
    share = [
        np.mean([(render(k.scene, k.K, k.camera(t), 64, 192, t).dynamic_mask > 0).mean() for t in (0, 14, 28)])
        for k in takes
    ]
    assert 0.02 < np.mean(share) < 0.25
    assert np.mean(np.array(share) > 0.01) >= 0.75


def frames_of(name, frames=12):
    return list(render_clip(difficulty=name, seed=4, frames=frames, height=64, width=192))


def test_difficulty_mover_at_camera_speed():
    first, *_, last = frames_of("mover_at_camera_speed")
    moving, beside = (
        first.dynamic_mask > 0,
        static(first) & (np.abs(first.depth - np.median(first.depth[first.dynamic_mask > 0])) < 3),
    )
    assert moving.mean() > 0.005
    assert np.median(np.linalg.norm(first.flow[moving], axis=-1)) < 0.4 * np.median(
        np.linalg.norm(first.flow[beside], axis=-1)
    )
    assert np.linalg.norm(last.T_world_cam[:3, 3] - first.T_world_cam[:3, 3]) > 2


def test_difficulty_crossing_walker():
    frames = frames_of("crossing_walker", 30)
    assert np.mean([(f.dynamic_mask > 0).mean() for f in frames]) > 0.003
    sideways = [
        np.abs(
            f.flow[f.dynamic_mask > 0][:, 0]
            - reproject(f, g)[0][f.dynamic_mask > 0][:, 0]
            + pixels(f)[f.dynamic_mask > 0][:, 0]
        ).max()
        for f, g in pairwise(frames)
        if (f.dynamic_mask > 0).any()
    ]
    assert max(sideways) > 0.5


def test_difficulty_thin_pole():
    shot = street(np.random.default_rng(4), 2, 64, 192, lead=False, oncoming=0, walkers=0, poles=True)
    thin = [p for p in shot.scene.primitives if p.shape == "cylinder" and p.size[0] == 0.04]
    assert len(thin) > 20
    frame = render(shot.scene, shot.K, shot.camera(0), 64, 192)
    bare = dataclasses.replace(shot.scene, primitives=[p for p in shot.scene.primitives if p not in thin])
    covered = frame.depth != render(bare, shot.K, shot.camera(0), 64, 192).depth
    assert 30 < covered.sum() < 0.05 * covered.size


def test_difficulty_textureless_wall():
    plain = frames_of("textureless_wall", 2)[0]
    usual = next(iter(render_clip("room", 4, 2, 64, 192, walkers=0)))

    def flat(f):
        return (np.abs(np.diff(f.rgb.astype(int), axis=1)).max(-1) <= 1).mean()

    assert flat(plain) > 0.6 and flat(plain) > flat(usual) + 0.2


def test_difficulty_static_camera():
    frames = frames_of("static_camera")
    assert all((f.T_world_cam == frames[0].T_world_cam).all() for f in frames)
    still = (frames[0].instance == 0) & (frames[5].instance == 0) & np.isfinite(frames[0].depth)
    assert (frames[0].depth == frames[5].depth)[still].all()
    assert np.abs(frames[0].rgb.astype(int) - frames[5].rgb).max() > 30  # but something moves


def test_difficulty_pure_rotation():
    frames = frames_of("pure_rotation")
    centres = np.array([f.T_world_cam[:3, 3] for f in frames])
    assert np.ptp(centres, axis=0).max() < 1e-12
    assert np.linalg.norm(frames[0].flow, axis=-1).mean() > 0.5


def test_difficulty_exposure_change():
    brightness = [f.rgb.mean() for f in frames_of("exposure_change")]
    assert max(brightness) / min(brightness) > 1.3


def test_every_difficulty_is_tested():
    tested = {name.removeprefix("test_difficulty_") for name in globals() if name.startswith("test_difficulty_")}
    assert tested == set(FAILURE_CASES)


def test_sensor_noise_and_blur_change_only_the_picture():
    clean, noisy, blurred = (
        list(render_clip("room", 5, 2, 48, 64, **o))[1] for o in ({}, {"noise": 0.02}, {"motion_blur": 5})
    )
    difference = noisy.rgb.astype(float) - clean.rgb
    unclipped = (clean.rgb > 20) & (clean.rgb < 235)
    assert abs(difference[unclipped].std() - 0.02 * 255) < 0.5 and abs(difference[unclipped].mean()) < 0.5

    def sharpness(f):
        return np.abs(np.diff(f.rgb.astype(float), axis=1)).mean()

    assert sharpness(blurred) < 0.95 * sharpness(clean)
    for name in ("depth", "flow", "dynamic_mask", "normal"):
        np.testing.assert_array_equal(getattr(noisy, name), getattr(clean, name))
        np.testing.assert_array_equal(getattr(blurred, name), getattr(clean, name))


@pytest.mark.parametrize("world", WORLDS)
def test_deterministic_by_seed(world):
    one, two, other = (next(iter(render_clip(world, seed, 2, 32, 96))) for seed in (3, 3, 4))
    for field in dataclasses.fields(one):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(two, field.name))
    assert np.abs(one.rgb.astype(int) - other.rgb).mean() > 10


ALL = ("depth", "movers", "instance", "normal", "flow")
SMALL = {"split_clips": {"train": 2, "val": 1, "test": 1}, "frames": 2, "height": 32, "width": 96, "outputs": ALL}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    write_world(root, "street", **SMALL, workers=2)
    return root


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_disk_holds_what_was_rendered(written):
    clip = find_clips(written, "test")[0]
    about = json.loads((clip.path / "clip.json").read_text())
    frame = list(render_clip("street", about["seed"], 2, 32, 96))[1]
    assert len(clip.frames) == 2 and clip.size == (32, 96) and about["fps"] == 10
    np.testing.assert_array_equal(clip.image(1), frame.rgb)
    np.testing.assert_array_equal(clip.dynamic_mask(1), frame.dynamic_mask)
    np.testing.assert_allclose(clip.K, frame.K, rtol=1e-8)
    np.testing.assert_allclose(clip.poses[1], frame.T_world_cam, atol=1e-6)
    known = frame.depth < 255
    np.testing.assert_allclose(clip.depth(1)[known], frame.depth[known], atol=0.5 / 256 + 1e-5)
    assert (clip.depth(1)[~known] == 0).all()
    normal = cv2.imread(str(clip.path / "normal/000001.png"), cv2.IMREAD_UNCHANGED)[..., ::-1] / 65535 * 2 - 1
    np.testing.assert_allclose(normal, frame.normal, atol=1e-4)
    flow = np.load(clip.path / "flow/000001.npz")
    assert flow["valid"].mean() > 0.5
    np.testing.assert_allclose(flow["flow"][flow["valid"]], frame.flow[flow["valid"]], rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(
        cv2.imread(str(clip.path / "instance/000001.png"), cv2.IMREAD_UNCHANGED), frame.instance
    )


def test_same_bytes_with_one_worker_or_two(written, tmp_path):
    write_world(tmp_path, "street", **SMALL, workers=1)
    assert contents(tmp_path) == contents(written)


def test_splits_are_disjoint(written):
    clips = [c for split in ("train", "val", "test") for c in find_clips(written, split)]
    seeds = [tuple(json.loads((c.path / "clip.json").read_text())["seed"]) for c in clips]
    assert len(clips) == len(set(seeds)) == 4
    assert len({c.K[0, 0] for c in clips}) == 4  # every clip has a camera, and so a scene, of its own
    images = np.array([c.image(0) for c in clips], float)
    assert all(np.abs(images[i] - images[j]).mean() > 10 for i in range(4) for j in range(i))


def test_resumes_at_the_first_missing_clip(tmp_path):
    settings = SMALL | {"outputs": ("depth",), "workers": 1}
    folders = write_world(tmp_path, "room", **settings)
    before = contents(tmp_path)
    folders[1].rename(tmp_path / ".partial/train/room_001")  # as an interrupted run leaves it:
    (tmp_path / ".partial/train/room_001/000001.png").write_bytes(b"half a file")
    stamp = (folders[0] / "000000.png").stat().st_mtime_ns
    assert [c.name for c in find_clips(tmp_path, "train")] == ["room_000"]
    assert write_world(tmp_path, "room", **settings) == folders
    assert contents(tmp_path) == before
    assert (folders[0] / "000000.png").stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match="other settings"):
        write_world(tmp_path, "room", **settings | {"frames": 3})


def test_options_reach_the_disk(tmp_path):
    write_world(
        tmp_path,
        "street",
        {"test": 1},
        frames=2,
        height=32,
        width=64,
        workers=1,
        difficulty="static_camera",
        noise=0.01,
    )
    poses = Clip(tmp_path / "test/street_000").poses
    np.testing.assert_array_equal(poses[0], poses[1])


@pytest.mark.parametrize(
    "options, word",
    [
        ({"world": "forest"}, "street, room"),
        ({"difficulty": "fog"}, "thin_pole"),
        ({"frames": 0}, "frames"),
        ({"traffic": 3}, "traffic"),
        ({"width": -1}, "width"),
    ],
)
def test_bad_options_are_one_clear_sentence(options, word):
    with pytest.raises(UserError, match=word):
        render_clip(**options)


@pytest.mark.parametrize(
    "options, word", [({"split_clips": {"training": 1}}, "train, val, test"), ({"outputs": ("deph",)}, "depth")]
)
def test_bad_data_set_options(tmp_path, options, word):
    with pytest.raises(UserError, match=word):
        write_world(tmp_path, **options)
