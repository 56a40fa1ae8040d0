"""The stages of SS-MDE as functions: what each reads and writes. Notebooks, the ablation and the CLI all call these."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm

from ssmde_lib.datasets.clip import Clip, Triplets, find_clips, read_pseudo_clip
from ssmde_lib.errors import UserError
from ssmde_lib.motion import inverse, rigid
from ssmde_lib.multiview import WITH_PRIOR, choose_labels, filter_mask, known_kind, reprojection_error
from ssmde_lib.networks import checkpoint
from ssmde_lib.networks.depth_and_pose import DepthAndPose
from ssmde_lib.networks.depth_net import DepthNet
from ssmde_lib.networks.pose_net import PoseNet
from ssmde_lib.objective import Losses, Objective
from ssmde_lib.training import Schedule, finish, launch, read_log, train


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Sizes of the two networks; the published ones are width 64."""

    layers: int = 18
    width: int = 24
    scales: int = 4
    skips: str = "unet"
    pose_width: int = 32
    min_depth: float = 0.1
    max_depth: float = 100.0
    encoder: str = "resnet"  # or "efficientnet_lite0", from ImageNet weights; `layers` is then without meaning

    def build(self, seed: int) -> DepthAndPose:
        """Freshly initialised networks, a function of the seed; the global random state is left alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            depth_net = DepthNet(self.layers, self.width, self.scales, self.skips, self.min_depth, self.max_depth, encoder=self.encoder)
            if self.encoder == "efficientnet_lite0":
                depth_net.encoder.load_imagenet()
            return DepthAndPose(depth_net, PoseNet(self.pose_width))


def train_network(
    folder: Path,
    data: Path,
    architecture: Architecture,
    losses: Losses,
    schedule: Schedule,
    *,
    seed: int,
    step: int = 1,
    pseudo: Path | None = None,
    labels: Path | None = None,
    start: Path | None = None,
    validate: Callable[[DepthNet], dict] | None = None,
    validate_every: int = 0,
) -> list[dict]:
    """Train depth and pose on the train split of `data` and write depth.safetensors, pose.safetensors and train.jsonl to `folder`.

    `pseudo` is the folder of the prior's maps, `labels` that of the filtered teacher depth; `start` a stage folder whose
    networks the training starts from. Returns the log. An interrupted call goes on where it stopped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    triplets = Triplets(find_clips(data, "train"), step, pseudo, labels)
    model = architecture.build(seed)
    if start:
        for net, name in ((model.depth_net, "depth"), (model.pose_net, "pose")):
            net.load_state_dict(same_architecture(net, start / f"{name}.safetensors").state_dict())
    objective = Objective(losses, model)
    log = train(
        model,
        objective,
        triplets,
        schedule,
        seed=seed,
        folder=folder,
        validate=(lambda trained: validate(trained.depth_net.eval())) if validate else None,
        validate_every=validate_every,
    )
    record = {
        "seed": seed,
        "data": data.as_posix(),
        "size": list(triplets.size),
        "triplets": len(triplets),
        "losses": dataclasses.asdict(losses),
        "schedule": dataclasses.asdict(schedule),
        "final": log[-1],
    }
    model.eval()
    if Accelerator().is_main_process:
        checkpoint.save(model.depth_net, folder / "depth.safetensors", record)
        checkpoint.save(model.pose_net, folder / "pose.safetensors", record)
        finish(folder)
    return log


def same_architecture(net: nn.Module, path: Path) -> nn.Module:
    """The network of the checkpoint `path`, which must be built as `net` is."""
    loaded = checkpoint.load(path)
    if differing := [key for key, value in net.architecture.items() if loaded.architecture[key] != value]:
        raise UserError(f"a training cannot start from {path}: it has another {' and '.join(differing)}; set warm_start to False, or choose the same.")
    return loaded


def train_on(processes: int, folder: Path, *args, **options) -> list[dict]:
    """`train_network` in one process or in several, one a GPU; from a notebook too."""
    if processes == 1:
        return train_network(folder, *args, **options)
    launch(partial(train_network, folder, *args, **options), processes)
    return read_log(folder / "train.jsonl")


@torch.inference_mode()
def predict_clip(depth_net: DepthNet, clip: Clip, batch: int = 16) -> Float[Tensor, "n 1 h w"]:
    """Depth of every frame of a clip, on the network's device."""
    device = next(depth_net.parameters()).device
    depths = []
    for first in range(0, len(clip), batch):
        images = np.stack([clip.image(i) for i in range(first, min(first + batch, len(clip)))])
        images = torch.from_numpy(images).to(device).permute(0, 3, 1, 2) / 255
        depths.append(depth_net.depth(depth_net(images)[0]))
    return torch.cat(depths)


@torch.inference_mode()
def predict_motion(pose_net: PoseNet, clip: Clip, step: int, batch: int = 16) -> Float[Tensor, "n 4 4"]:
    """T_next_tgt from every frame i to frame i + step, i = 0 … len(clip) - step - 1."""
    device = next(pose_net.parameters()).device
    images = torch.from_numpy(np.stack([clip.image(i) for i in range(len(clip))])).to(device).permute(0, 3, 1, 2)
    pairs = [(images[i : i + batch], images[i + step : i + step + batch]) for i in range(0, len(clip) - step, batch)]
    return rigid(torch.cat([pose_net(tgt[: len(nxt)] / 255, nxt / 255) for tgt, nxt in pairs]))


@dataclasses.dataclass(frozen=True)
class Filter:
    """The multi-view mask filter. `kind`: "none", "plain" (forward-backward consistency), "extended" (or the prior's order
    agrees), "agreed" (and the prior's depth agrees) or "nearer" (where the views reject, the nearer of teacher and prior);
    `threshold`: relative error, or 0 for the image's mean error (SRD-Depth)."""

    kind: str = "extended"
    threshold: float = 0.0

    def __post_init__(self) -> None:
        known_kind(self.kind)


@torch.inference_mode()
def filter_clip(depth_net: DepthNet, pose_net: PoseNet, clip: Clip, config: Filter, step: int, pseudo: Tensor | None) -> Iterator[tuple]:
    """(i, depth, label, mask) of each frame that has both neighbours, maps 1 1 h w; the label is the depth unless the filter mends it."""
    depth = predict_clip(depth_net, clip)
    T_next_tgt = predict_motion(pose_net, clip, step)
    K = torch.from_numpy(clip.K).to(depth)[None]
    for i in clip.targets(step):
        views = [(depth[[i + step]], T_next_tgt[[i]]), (depth[[i - step]], inverse(T_next_tgt[[i - step]]))]
        errors, valids = zip(*(reprojection_error(depth[[i]], source, K, T) for source, T in views), strict=True)
        plain = filter_mask(errors, valids, config.threshold or "mean")
        relative_depth = pseudo[i][None, None].to(depth) if config.kind in WITH_PRIOR else None
        yield i, depth[[i]], *choose_labels(config.kind, plain, depth[[i]], relative_depth)


def write_labels(folder: Path, data: Path, teacher: Path, config: Filter, *, step: int = 1, pseudo: Path | None = None, split: str = "train") -> dict:
    """Write the labels and the filter's mask of a split to `folder`; return coverage, and precision where truth is known.

    Precision: of the kept pixels, the share whose label is within 25 % of the truth after the image's median scaling;
    `precision_unfiltered` is the same share of the teacher's depth, everywhere.
    """
    device = Accelerator().device
    depth_net, pose_net = (checkpoint.load(teacher / name, device) for name in ("depth.safetensors", "pose.safetensors"))
    kept = {region: np.zeros(4) for region in ("all", "static", "dynamic")}  # pixels, kept, right, kept and right
    for clip in tqdm(find_clips(data, split), desc="filter", mininterval=5, ncols=90):
        maps = read_pseudo_clip(clip, pseudo) if pseudo else None
        out = folder / clip.path.parent.name / clip.name
        out.mkdir(parents=True, exist_ok=True)
        for i, *maps_of_frame in filter_clip(depth_net, pose_net, clip, config, step, maps):
            depth, label, mask = (x[0, 0].cpu().numpy() for x in maps_of_frame)
            np.savez(out / f"{clip.stem(i)}.npz", depth=label.astype(np.float16), mask=mask)
            count_right(kept, clip, i, depth, label, mask)
    coverage = {
        region: {"coverage": k / n, "precision": kr / max(k, 1), "precision_unfiltered": r / n}
        for region, (n, k, r, kr) in kept.items()
        if n
    }
    (folder / "coverage.json").write_text(json.dumps({"filter": dataclasses.asdict(config), **coverage}, indent=1))
    return coverage


def count_right(kept: dict, clip: Clip, i: int, depth: np.ndarray, label: np.ndarray, mask: np.ndarray) -> None:
    """Add frame i to the counts of write_labels."""
    truth, movers = clip.depth(i), clip.movers(i)
    if truth is None:
        return
    known = truth > 0
    if not known.any():
        return
    was_right, right = (within_25_percent(x, truth, known) for x in (depth, label))
    regions = {"all": known}
    if movers is not None:
        regions |= {"static": known & (movers == 0), "dynamic": known & (movers > 0)}
    for region, where in regions.items():
        kept[region] += [where.sum(), (where & mask).sum(), (where & was_right).sum(), (where & mask & right).sum()]


def within_25_percent(depth: np.ndarray, truth: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which pixels are within 25 % of the truth after median scaling over `known`."""
    scaled = depth * np.median(truth[known] / depth[known])
    return np.maximum(scaled / np.maximum(truth, 1e-6), truth / scaled) < 1.25
