"""The stages on a tiny world: what they write, that they learn, and what they say of bad input."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from ssmde_lib.data.layout import Clip, find_clips, read_label_clip
from ssmde_lib.data.triplets import Triplets
from ssmde_lib.errors import UserError
from ssmde_lib.inference.clips import predict_clip
from ssmde_lib.labels.filters import KINDS, Filter
from ssmde_lib.losses.config import Losses
from ssmde_lib.networks import checkpoint
from ssmde_lib.networks.architecture import Architecture
from ssmde_lib.pipeline import stages
from ssmde_lib.pipeline.stages import filter_clip, train_network, train_student, write_labels
from ssmde_lib.prior import read_pseudo_depth, write_pseudo_depth
from ssmde_lib.synthetic import write_world
from ssmde_lib.training.schedule import Schedule

TINY = Architecture(width=8, pose_width=8)
SHORT = Schedule(steps=2, batch_size=2, log_every=1)


class Brightness:
    """A stand-in prior for tests: darker is farther."""

    name = "brightness stand-in"
    device = "cpu"

    def __call__(self, images):
        return 2 - images.mean(1, keepdim=True)

    def describe(self):
        return {"provider": self.name}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    write_world(root / "data", "street", {"train": 1, "val": 1, "test": 1}, 5, 64, 96, 0, workers=1)
    write_pseudo_depth(Brightness(), root / "data", root / "pseudo", 4)
    return root


@pytest.fixture(scope="module")
def teacher(world):
    train_network(world / "teacher", world / "data", TINY, Losses(ranking=0.1), SHORT, seed=0, pseudo=world / "pseudo")
    return world / "teacher"


def test_a_training_stage_writes_networks_that_say_where_they_come_from(teacher):
    record = checkpoint.read_record(teacher / "depth.safetensors")
    assert (record["seed"], record["triplets"], record["size"]) == (0, 3, [64, 96])
    assert record["losses"]["ranking"] == 0.1
    assert not (teacher / "state").exists()
    net = checkpoint.load(teacher / "depth.safetensors")
    assert not net.training
    assert net.architecture["width"] == 8


def test_a_warm_start_needs_the_same_architecture(world, teacher, tmp_path):
    with pytest.raises(UserError, match=r"depth\.safetensors: it has another width; set warm_start to False"):
        train_network(tmp_path, world / "data", replace(TINY, width=16), Losses(), SHORT, seed=0, start=teacher)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_what_the_filter_lets_through(world, teacher, tmp_path, kind):
    coverage = write_labels(tmp_path, world / "data", teacher, Filter(kind), pseudo=world / "pseudo")
    clip = find_clips(world / "data", "train")[0]
    depth = predict_clip(checkpoint.load(teacher / "depth.safetensors"), clip)[2, 0].numpy()
    with np.load(tmp_path / "train" / clip.name / f"{clip.stem(2)}.npz") as label:
        shown = label["depth"].astype(np.float32)
        assert (shown <= 1.001 * depth).all() and 0 < np.isclose(shown, depth, rtol=1e-3).mean() <= 1
        assert kind == "min_depth" or np.array_equal(shown, depth.astype(np.float16).astype(np.float32))
        assert label["mask"].all() if kind in ("none", "min_depth") else 0 < label["mask"].mean() < 1
    assert coverage["all"]["coverage"] == 1 if kind in ("none", "min_depth") else 0 < coverage["all"]["coverage"] < 1
    assert set(coverage) == {"all", "static", "dynamic"}
    triplets, streamed = (
        Triplets([clip], pseudo=world / "pseudo", labels=tmp_path, memory=bound) for bound in (1e9, 0)
    )
    item = triplets[1]
    assert np.array_equal(item["teacher_depth"][0], shown)
    assert triplets.images[0].held and streamed.images[0].held is None  # a set larger than memory is read item by item
    assert all(torch.equal(value, streamed[1][name]) for name, value in item.items())


def test_an_unknown_filter_is_named():
    with pytest.raises(
        UserError,
        match="unknown mask filter 'plane': choose one of none, plain, prior_order, prior_depth, min_depth, multi_view",
    ):
        Filter("plane")


def test_labels_from_many_views_have_the_training_s_size(world, teacher, tmp_path):
    write_world(tmp_path / "larger", "street", {"train": 1}, 5, 128, 192, 0, workers=1)
    clip = find_clips(world / "data", "train")[0]
    written = {}
    for name, pictures in (("own", None), ("larger", tmp_path / "larger")):
        out = tmp_path / name
        coverage = write_labels(out, world / "data", teacher, Filter(), pseudo=world / "pseudo", pictures=pictures)
        assert 0 < coverage["all"]["coverage"] <= 1
        written[name] = np.load(out / "train" / clip.name / f"{clip.stem(2)}.npz")
    depths = [label["depth"].astype(np.float32) for label in written.values()]
    assert all(d.shape == clip.size and np.isfinite(d).all() and (d > 0).all() for d in depths)
    assert not np.allclose(*depths, rtol=1e-2)
    with pytest.raises(UserError, match="need the prior's maps"):
        write_labels(tmp_path / "none", world / "data", teacher, Filter())


@pytest.mark.parametrize("supported", [True, False])
def test_the_views_decide_whether_labels_begin_with_both_teachers(
    world, teacher, tmp_path, monkeypatch, capsys, supported
):
    monkeypatch.setattr(stages, "cost_of_joining", lambda *_: -1.0 if supported else 0.0)
    monkeypatch.setattr(stages, "join", lambda depth, static_depth: torch.ones_like(depth) + static_depth.mean())
    labels = {}
    for name, static in (("one", None), ("two", teacher)):
        out = tmp_path / name
        options = {"pseudo": world / "pseudo", "static_teacher": static}
        write_labels(out, world / "data", teacher, Filter(), **options)
        labels[name] = read_label_clip(find_clips(world / "data", "train")[0], out, 1)[2][0]
        said = "".join(capsys.readouterr())
        assert ("labels begin with the depth of" in said) == bool(static)
    assert f"depth of {'both teachers' if supported else 'the first teacher'}." in said
    assert torch.equal(labels["one"], labels["two"]) != supported


def test_a_student_of_two_rounds_learns_from_the_first_ones_labels(world, teacher, tmp_path):
    losses = Losses(photometric=0.0, geometry=0.0, distillation=1.0)
    labels = tmp_path / "labels"
    write_labels(labels, world / "data", teacher, Filter("none"))
    folder = tmp_path / "student"
    log = train_student(
        2, 1, folder, world / "data", TINY, losses, SHORT, seed=0, labels=labels, start=teacher, pseudo=world / "pseudo"
    )
    assert log[-1]["step"] == SHORT.steps and set(log[-1]) >= {"distillation"} and "photometric" not in log[-1]
    first = folder / "round_1"
    assert (first / "labels" / "coverage.json").is_file()
    nets = [checkpoint.load(f / "depth.safetensors").state_dict() for f in (teacher, first, folder)]
    moved = [any(not torch.equal(a[k], b[k]) for k in a) for a, b in itertools.pairwise(nets)]
    assert moved == [True, True]
    poses = [checkpoint.load(f / "pose.safetensors").head.weight for f in (teacher, folder)]
    assert torch.equal(*poses)  # labels alone teach no motion: it stays the teacher's


def test_the_prior_order_filter_keeps_what_the_plain_one_keeps(world, teacher):
    clip = find_clips(world / "data", "train")[0]
    nets = [checkpoint.load(teacher / name) for name in ("depth.safetensors", "pose.safetensors")]
    pseudo = torch.from_numpy(
        np.stack([read_pseudo_depth(world / "pseudo" / "train" / clip.name / f"{clip.stem(i)}.png") for i in range(5)])
    )
    plain, with_prior = (
        [mask for *_, mask in filter_clip(*nets, clip, Filter(kind), 1, pseudo)] for kind in ("plain", "prior_order")
    )
    assert all((e | ~p).all() for p, e in zip(plain, with_prior, strict=True))


def test_the_networks_overfit_one_triplet(world, tmp_path):
    """From its three frames alone, the network finds a depth and a motion that explain them better than no motion."""
    data = tmp_path / "one"
    clip = find_clips(world / "data", "train")[0]
    (data / "train" / "clip").mkdir(parents=True)
    for name in (*clip.frames[:3], "cam.txt", "clip.json"):
        (data / "train" / "clip" / name).symlink_to(clip.path / name)
    schedule = Schedule(steps=60, batch_size=2, learning_rate=1e-3, log_every=5, decay="constant")
    losses = Losses(automask=False, geometry=0.0, smoothness=0.0)
    log = train_network(tmp_path / "out", data, TINY, losses, schedule, seed=0)
    assert log[-1]["photometric"] < 0.75 * log[0]["photometric"]


def test_bad_folders_are_one_sentence(world, tmp_path):
    with pytest.raises(UserError, match="holds no clips"):
        find_clips(world / "data", "tset")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds no pictures"):
        Clip(tmp_path / "empty")
    write_world(tmp_path / "odd", "street", {"train": 1}, 3, 48, 96, 0, workers=1)
    with pytest.raises(UserError, match="48x96 .* not divisible by 32"):
        Triplets(find_clips(tmp_path / "odd", "train"))
