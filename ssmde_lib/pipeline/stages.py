"""The stages of SS-MDE as functions: what each reads and writes. Notebooks, the ablation and the CLI all call these."""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from ssmde_lib.data.layout import Clip, clip_folder, find_clips, parts_of, read_pseudo_clip, write_label
from ssmde_lib.data.triplets import Triplets
from ssmde_lib.errors import UserError
from ssmde_lib.files import write_json
from ssmde_lib.geometry.motion import inverse
from ssmde_lib.inference.clips import predict_clip, predict_motion, read_images
from ssmde_lib.labels.filters import MULTI_VIEW, Filter, filter_labels
from ssmde_lib.labels.multi_view import JUDGED, PARALLAX, REACH, cost_of_joining, join, label_clip, shrink
from ssmde_lib.losses.config import Losses
from ssmde_lib.metrics import align
from ssmde_lib.networks import checkpoint
from ssmde_lib.networks.architecture import Architecture, same_architecture
from ssmde_lib.networks.depth_and_pose import DepthAndPose
from ssmde_lib.networks.depth_net import DepthNet
from ssmde_lib.networks.pose_net import PoseNet
from ssmde_lib.training.loop import train
from ssmde_lib.training.objective import Objective
from ssmde_lib.training.processes import launch
from ssmde_lib.training.schedule import Schedule
from ssmde_lib.training.state import finish, list_changes, read_log

JUDGED_CLIPS = 8  # by which it is decided whether labels begin with the depth of two networks


def train_network(
    folder: Path,
    data: Path,
    architecture: Architecture,
    losses: Losses,
    schedule: Schedule,
    *,
    seed: int,
    frame_stride: int = 1,
    pseudo: Path | None = None,
    labels: Path | None = None,
    start: Path | None = None,
    validate: Callable[[DepthNet], dict] | None = None,
    validate_every: int = 0,
    watch: Callable[[DepthAndPose, list[dict], int], None] | None = None,
) -> list[dict]:
    """Train depth and pose on the train split of `data`.

    Writes depth.safetensors, pose.safetensors and train.jsonl to `folder`.

    `pseudo` is the folder of the prior's maps, `labels` that of the filtered teacher depth; `start` a stage folder
    whose networks the training starts from. Returns the log. An interrupted call goes on where it stopped, a finished
    one is not repeated.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "pose.safetensors").is_file() and not (folder / "state").exists():  # both are written last
        return read_log(folder / "train.jsonl")
    check_inputs(losses, pseudo, labels)
    triplets = Triplets(find_clips(data, "train"), frame_stride, pseudo, labels)
    model = architecture.build(seed)
    if start:
        start_from(model, start)
    settings = {
        "losses": dataclasses.asdict(losses),
        "architecture": dataclasses.asdict(architecture),
        "data": triplets.describe(),
        "pseudo": str(pseudo) if pseudo else None,
        "labels": str(labels) if labels else None,
        "start": str(start) if start else None,
    }
    log = train(
        model,
        Objective(losses, model),
        triplets,
        schedule,
        seed=seed,
        folder=folder,
        settings=settings,
        validate=(lambda trained: validate(trained.depth_net.eval())) if validate else None,
        validate_every=validate_every,
        watch=watch,
    )
    if Accelerator().is_main_process:
        save_networks(
            folder,
            model.eval(),
            {
                "seed": seed,
                "data": data.as_posix(),
                "size": list(triplets.size),
                "triplets": len(triplets),
                "losses": dataclasses.asdict(losses),
                "schedule": dataclasses.asdict(schedule),
                "final": log[-1],
            },
        )
    return log


def check_inputs(losses: Losses, pseudo: Path | None, labels: Path | None) -> None:
    """Raise UserError where a loss needs maps that are not given."""
    if losses.uses_prior and not pseudo:
        raise UserError("losses of the prior need its maps: give the folder of stage 02 as pseudo, or set them to 0.")
    if losses.distillation and losses.teacher == "labels" and not labels:
        raise UserError("distillation needs a teacher's labels: give the folder of stage 07 as labels, or set it to 0.")


def check_finished(folder: Path, seed: int, losses: Losses, schedule: Schedule) -> None:
    """Raise UserError where a folder holds a finished training of other settings: it would not be repeated."""
    if not (folder / "pose.safetensors").is_file():
        return
    record = checkpoint.read_record(folder / "pose.safetensors")
    now = {"seed": seed, "losses": dataclasses.asdict(losses), "schedule": schedule.that_matter()}
    before = {"seed": record.get("seed"), **{name: record.get(name, {}) for name in ("losses", "schedule")}}
    for name in ("losses", "schedule"):  # what a version of the library knows alone says nothing
        before[name] = {key: value for key, value in before[name].items() if key in now[name]}
        now[name] = {key: now[name][key] for key in before[name]}
    if changes := list_changes(before, now):
        raise UserError(
            f"{folder} holds a finished training of other settings ({'; '.join(changes)}): choose another folder."
        )


def start_from(model: DepthAndPose, start: Path) -> None:
    """Load the networks of the stage folder `start`, which must be built as the model's are."""
    for net, name in ((model.depth_net, "depth"), (model.pose_net, "pose")):
        net.load_state_dict(same_architecture(net, start / f"{name}.safetensors").state_dict())


def save_networks(folder: Path, model: DepthAndPose, record: dict) -> None:
    """Write both networks with the record of their training, and drop the resumable state."""
    checkpoint.save(model.depth_net, folder / "depth.safetensors", record)
    checkpoint.save(model.pose_net, folder / "pose.safetensors", record)
    finish(folder)


def train_on(processes: int, folder: Path, *args, **options) -> list[dict]:
    """`train_network` in one process or in several, one a GPU; from a notebook too."""
    if processes == 1:
        return train_network(folder, *args, **options)
    launch(partial(train_network, folder, *args, **options), processes)
    return read_log(folder / "train.jsonl")


def train_student(
    rounds: int,
    processes: int,
    folder: Path,
    data: Path,
    *settings,
    labels: Path,
    start: Path | None,
    pseudo: Path,
    frame_stride: int = 1,
    **options,
) -> list[dict]:
    """Train a student of `labels`; after each round but the last, it labels the clips from many views for the next one.

    The networks of the rounds before the last stay in `folder`/round_1 and so on, with their labels. Returns the last
    round's log. `settings` and `options` are those of `train_network`.
    """
    for number in range(1, rounds + 1):
        own = folder if number == rounds else folder / f"round_{number}"
        if own == folder or not (own / "depth.safetensors").is_file():
            log = train_on(
                processes, own, data, *settings, labels=labels, start=start, frame_stride=frame_stride, **options
            )
        if number < rounds:
            labels, start = own / "labels", own
            write_labels(labels, data, own, Filter(), frame_stride=frame_stride, pseudo=pseudo)
    return log


@torch.inference_mode()
def filter_clip(
    depth_net: DepthNet, pose_net: PoseNet, clip: Clip, config: Filter, frame_stride: int, pseudo: Tensor | None
) -> Iterator[tuple]:
    """(i, depth, label, mask) of each frame with both source frames, maps 1 1 h w.

    The label is the teacher's depth unless the filter changes it.
    """
    depth = predict_clip(depth_net, clip)
    T_next_tgt = predict_motion(pose_net, clip, frame_stride)
    K = torch.from_numpy(clip.K).to(depth)[None]
    for i in clip.targets(frame_stride):
        views = [
            (depth[[i + frame_stride]], T_next_tgt[[i]]),
            (depth[[i - frame_stride]], inverse(T_next_tgt[[i - frame_stride]])),
        ]
        relative_depth = None if pseudo is None else pseudo[i][None, None].to(depth)
        yield i, depth[[i]], *filter_labels(config, depth[[i]], views, K, relative_depth)


@torch.inference_mode()
def label_clip_from_views(
    depth_net: DepthNet,
    pose_net: PoseNet,
    clip: Clip,
    frame_stride: int,
    pseudo: Tensor | None,
    pictures: Clip,
    static_net: DepthNet | None = None,
) -> Iterator[tuple]:
    """As `filter_clip`, from many views of `pictures`, the same clip, perhaps larger; labels as large as `clip`.

    The labels begin with the depth of `depth_net`, and of `static_net` where that agrees.
    """
    if pseudo is None:
        raise UserError("labels from many views need the prior's maps: give the folder of pseudo-depth.")
    depth = predict_clip(depth_net, clip)
    images, K = read_images(pictures, depth.device), torch.from_numpy(pictures.K).to(depth)[None]
    T_next_tgt = predict_motion(pose_net, clip, frame_stride)
    start = join(depth, predict_clip(static_net, clip)) if static_net else depth
    labels = label_clip(images, start, T_next_tgt, K, pseudo[:, None].to(depth), frame_stride)
    if still := int((labels.parallax < PARALLAX).sum()):
        tqdm.write(
            f"{clip.name}: the camera hardly moves around {still} of {len(clip)} frames; "
            "their label is the teacher's depth."
        )
    for i in clip.targets(frame_stride):
        yield i, depth[[i]], *shrink(labels.depth[[i]], labels.mask[[i]], clip.size)


@torch.inference_mode()
def views_support_both(
    depth_net: DepthNet, pose_net: PoseNet, static_net: DepthNet, clips: list[Clip], frame_stride: int
) -> bool:
    """Whether labels should begin with the depth of both networks: the cost of the views is lower there.

    JUDGED_CLIPS of the clips, evenly spread, decide for all of them.
    """
    added = 0.0
    for clip in clips[:: max(1, math.ceil(len(clips) / JUDGED_CLIPS))]:
        middle, reach = len(clip) // 2, JUDGED // 2 + REACH * frame_stride
        part = clip.part(max(0, middle - reach), middle + reach)
        depth, static_depth = predict_clip(depth_net, part), predict_clip(static_net, part)
        K = torch.from_numpy(part.K).to(depth)[None]
        motions = predict_motion(pose_net, part, frame_stride)
        added += cost_of_joining(read_images(part, depth.device), depth, static_depth, motions, K, frame_stride)
    return added < 0


def write_labels(
    folder: Path,
    data: Path,
    teacher: Path,
    config: Filter,
    *,
    frame_stride: int = 1,
    pseudo: Path | None = None,
    pictures: Path | None = None,
    static_teacher: Path | None = None,
    split: str = "train",
) -> dict:
    """Write the labels and their mask of a split to `folder`; a finished call is not repeated.

    Return coverage, and precision where truth is known.

    Precision: of the kept pixels, the share whose label is within 25 % of the truth after the image's median scaling;
    `precision_unfiltered` is the same share of the teacher's depth, everywhere.

    Args:
        folder: of the labels.
        data: the clips, at the size of the training.
        teacher: stage folder of the networks that label.
        config: the kind of labels.
        frame_stride: distance of the neighbours in frames.
        pseudo: folder of the prior's maps, for the kinds of labels that use the prior.
        pictures: the same clips at a higher resolution, for labels from many views.
        static_teacher: stage folder of a network that may be better on static pixels; labels from many views begin
            with it too, where the views support it.
        split: of the clips.
    """
    if config.uses_prior and not pseudo:
        raise UserError(f"labels of kind {config.kind!r} need the prior's maps: give the folder of stage 02 as pseudo.")
    summary, filter_record = folder / "coverage.json", dataclasses.asdict(config)
    if summary.is_file():
        coverage = json.loads(summary.read_text())
        if coverage.pop("filter") == filter_record:
            return coverage
    device = Accelerator().device
    depth_net, pose_net = (
        checkpoint.load(teacher / name, device) for name in ("depth.safetensors", "pose.safetensors")
    )
    static_net = checkpoint.load(static_teacher / "depth.safetensors", device) if static_teacher else None
    kept = {region: np.zeros(4) for region in ("all", "static", "dynamic")}  # pixels, kept, right, kept and right
    clips = [clip for clip in find_clips(data, split) if clip.targets(frame_stride)]
    parts = [part for clip in clips for part in parts_of(clip, REACH * frame_stride)]
    if static_net and config.kind == MULTI_VIEW:
        supported = views_support_both(depth_net, pose_net, static_net, clips, frame_stride)
        tqdm.write(f"labels begin with the depth of {'both teachers' if supported else 'the first teacher'}.")
        if not supported:
            static_net = None
    for clip, own in tqdm(parts, desc="labels", mininterval=5, ncols=90):
        maps = read_pseudo_clip(clip, pseudo) if pseudo else None
        if config.kind == MULTI_VIEW:
            larger = Clip(clip_folder(clip, pictures)).part(clip.first, clip.first + len(clip)) if pictures else clip
            frames = label_clip_from_views(depth_net, pose_net, clip, frame_stride, maps, larger, static_net)
        else:
            frames = filter_clip(depth_net, pose_net, clip, config, frame_stride, maps)
        for i, *maps_of_frame in frames:
            if i in own:
                depth, label, mask = (x[0, 0].cpu().numpy() for x in maps_of_frame)
                write_label(clip, folder, i, label, mask)
                count_right(kept, clip, i, depth, label, mask)
    coverage = {
        region: {"coverage": k / n, "precision": kr / max(k, 1), "precision_unfiltered": r / n}
        for region, (n, k, r, kr) in kept.items()
        if n
    }
    write_json(summary, {"filter": filter_record, **coverage})
    return coverage


def count_right(kept: dict, clip: Clip, i: int, depth: np.ndarray, label: np.ndarray, mask: np.ndarray) -> None:
    """Add frame i to the counts of write_labels."""
    truth, dynamic_mask = clip.depth(i), clip.dynamic_mask(i)
    if truth is None:
        return
    known = truth > 0
    if not known.any():
        return
    was_right, right = (within_25_percent(x, truth, known) for x in (depth, label))
    regions = {"all": known}
    if dynamic_mask is not None:
        regions |= {"static": known & (dynamic_mask == 0), "dynamic": known & (dynamic_mask > 0)}
    for region, where in regions.items():
        kept[region] += [where.sum(), (where & mask).sum(), (where & was_right).sum(), (where & mask & right).sum()]


def within_25_percent(depth: np.ndarray, truth: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which pixels are within 25 % of the truth after median scaling over `known`."""
    scaled = align(depth, truth, known, "median")
    return np.maximum(scaled / np.maximum(truth, 1e-6), truth / scaled) < 1.25
