"""One job of a grid and its inputs: each step runs once, only where its output is missing."""

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from filelock import FileLock

from ssmde_lib.ablation.grid import Grid, Job, World
from ssmde_lib.ablation.priors import PRIORS
from ssmde_lib.ablation.records import by_clip, write_record
from ssmde_lib.ablation.variants import VARIANTS
from ssmde_lib.data.layout import SPLITS, Clip, find_clips
from ssmde_lib.data.pack import import_clip
from ssmde_lib.devices import best_device, device_name
from ssmde_lib.errors import UserError
from ssmde_lib.evaluation import Protocol, constant, evaluate_clips, get_protocol, training_median
from ssmde_lib.evaluation.evaluator import Predict
from ssmde_lib.files import write_json
from ssmde_lib.inference.predictor import Predictor
from ssmde_lib.networks import checkpoint
from ssmde_lib.networks.dinov2 import INSTALL
from ssmde_lib.pipeline.stages import train_network, write_labels
from ssmde_lib.prior import get_provider, write_pseudo_depth
from ssmde_lib.prior.degraded import Degraded
from ssmde_lib.prior.in_domain import fine_tune
from ssmde_lib.synthetic import write_world

DONE = "done.json"


def cached(folder: Path, make: Callable[[], dict | None]) -> Path:
    """Call `make` unless the folder's `done.json` says that it has been made; what it returns is kept there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):  # one process at a time; the others wait
        if not (folder / DONE).is_file():
            facts = make()
            write_json(folder / DONE, facts or {})
    return folder


def prepare_data(grid: Grid, name: str) -> Path:
    """The data set of a world, and the records of its trivial baselines."""
    world, folder = grid.world(name), grid.data_folder(name)
    if name in grid.absent:
        raise UserError(grid.absent[name])

    cached(folder, lambda: write_clips(grid, world, folder))
    settings = {"data": grid.data_settings(name), "protocol": world.protocol}
    measure_baselines(grid.results / name, folder, find_clips(folder, "test"), protocol_of(grid, name), settings)
    return folder


def write_clips(grid: Grid, world: World, folder: Path, scale: int = 1, splits: Sequence[str] = SPLITS) -> None:
    """Write the clips of a world at `scale` times its size."""
    size = (scale * world.height, scale * world.width)
    if world.folder:
        tracklets = grid.root / world.tracklets if world.tracklets else None
        import_clip(grid.root / world.folder, folder, size, tracklets=tracklets)
    for split, clips in (world.clips or {}).items():
        if split in splits:
            frames = world.test_frames if split == "test" else world.frames
            write_world(folder, world.name, {split: clips}, frames, *size, world.seed, workers=1)


def prepare_pictures(grid: Grid, job: Job) -> Path | None:
    """The training clips at the size at which the job's labels are made; None where that is the training's."""
    scale, folder = grid.label_scale(job), grid.pictures_folder(job.world)
    if scale < 2:
        return None
    world = grid.world(job.world)
    return cached(folder, lambda: write_clips(grid, world, folder, scale, ("train",)))


def measure_baselines(folder: Path, data: Path, test: list[Clip], protocol: Protocol, settings: dict) -> None:
    """What needs no learning, as records of their own, `constant.json` and `median.json`.

    `data` holds the training clips.
    """
    predictors = {
        "constant": ("constant depth", lambda: constant),
        "median": ("per-pixel median of the training depth", lambda: training_median(find_clips(data, "train"))),
    }
    for variant, (title, predictor) in predictors.items():
        measure_once(
            folder / f"{variant}.json",
            {"variant": variant, "title": title, "seed": None, "settings": settings},
            predictor,
            test,
            protocol,
        )


def measure_once(
    path: Path, record: dict, predictor: Callable[[], Predict], test: list[Clip], protocol: Protocol
) -> None:
    """Write `record` with the figures of the predictor that is made, unless it is there with the same settings."""
    if not path.is_file() or json.loads(path.read_text())["settings"] != json.loads(json.dumps(record["settings"])):
        results = evaluate_clips(predictor(), test, protocol)
        write_record(path, record | {"summary": results.summary(), "by_clip": by_clip(results)})


def prepare_prior(grid: Grid, world: str) -> Path:
    """The in-domain weights of a world: minutes of training."""
    folder = grid.prior_folder(world)
    data = prepare_data(grid, world)
    return (
        cached(
            folder,
            lambda: {
                "curve": fine_tune(data, folder / "leres_small.safetensors", grid.fine_tuning, best_device().type)
            },
        )
        / "leres_small.safetensors"
    )


def prepare_pseudo(grid: Grid, world: str, quality: str) -> Path:
    """The maps of a world by the prior of that quality."""
    folder = grid.pseudo_folder(world, quality)
    data = prepare_data(grid, world)

    def make() -> dict:
        weights = {"weights": prepare_prior(grid, world)} if quality == "in_domain" else {}
        name = PRIORS[quality].describe()["provider"]
        provider = get_provider(name, device=best_device(), **PRIORS[quality].options, **weights)
        if provider.describe()["provider"] != name:
            raise UserError(f"the grid's prior {name} needs its backbone: {INSTALL}")
        return write_pseudo_depth(Degraded(provider) if quality == "degraded" else provider, data, folder)

    return cached(folder, make)


def run_variant(grid: Grid, job: Job, *, force: bool = False, weights: bool = False) -> dict:
    """Train and evaluate one job, and return its record, which is also written to `results/`.

    A finished job is not run again unless `force`d, or `weights` are asked for that do not lie here; its record stays
    then. What it reads is made where it is missing, the teacher too. Interrupted, it goes on where it stopped.
    """
    path, finished = grid.record_path(job), grid.changes(job) == [] and not force
    if not finished or weights:
        record = train_variant(grid, job, force)
    if not finished:
        write_record(path, record)
    return json.loads(path.read_text())


def publish(grid: Grid) -> None:
    """Write the records of jobs that were trained here and have none."""
    for job in grid.unfinished():
        if (grid.folder(job) / DONE).is_file():
            run_variant(grid, job)


def export_weights(grid: Grid, job: Job, out: Path) -> list[Path]:
    """Write a trained job's networks, in half precision, with their training records.

    The files are `OUT.safetensors` and `OUT_pose.safetensors`.
    """
    command = (
        f"ssmde ablation run --world {job.world} --variant {job.variant} --seed {job.seed} --profile {grid.profile}"
    )
    written = []
    for name, stem in (("depth", out.name), ("pose", f"{out.name}_pose")):
        source, path = grid.folder(job) / f"{name}.safetensors", out.with_name(f"{stem}.safetensors")
        net = checkpoint.load(source)
        checkpoint.save(net, path, checkpoint.read_record(source) | {"data": job.world, "command": command}, half=True)
        written.append(path)
    return written


def train_variant(grid: Grid, job: Job, force: bool = False) -> dict:
    """The record of a job whose weights lie here, trained if they do not yet."""
    folder = grid.folder(job)
    if force:
        shutil.rmtree(folder, ignore_errors=True)
    cached(folder, lambda: train_and_evaluate(grid, job))
    return json.loads((folder / DONE).read_text())


def train_and_evaluate(grid: Grid, job: Job) -> dict:
    """Train the job's networks, evaluate them on the test split, and return the record."""
    variant, folder, losses, schedule = VARIANTS[job.variant], grid.folder(job), grid.losses(job), grid.schedule(job)
    began = time.perf_counter()
    data, stride, protocol = (
        prepare_data(grid, job.world),
        grid.world(job.world).frame_stride,
        protocol_of(grid, job.world),
    )
    pseudo = prepare_pseudo(grid, job.world, variant.quality) if grid.needs_prior(job) else None
    teacher, labels, coverage = None, None, None
    teachers = grid.teachers_of(job)
    if teachers and variant.filter:
        for learned_from in teachers:
            train_variant(grid, learned_from)
        teacher, *static = map(grid.folder, teachers)
        labels = folder / "labels"
        coverage = write_labels(
            labels, data, teacher, variant.filter,
            frame_stride=stride, pseudo=pseudo, pictures=prepare_pictures(grid, job),
            static_teacher=static[0] if static else None,
        )  # fmt: skip
    prepared, processor = time.perf_counter(), time.process_time()
    validation = find_clips(data, "val")

    def validate(net) -> dict:
        summary = evaluate_clips(Predictor(net), validation, protocol).summary()
        return {f"val_{region}": figures["abs_rel"] for region, figures in summary.items()}

    log = train_network(
        folder, data, grid.architecture(job), losses, schedule, seed=job.seed, frame_stride=stride, labels=labels,
        start=teacher if grid.warm_start(job) else None, pseudo=pseudo if losses.uses_prior else None,
        validate=validate, validate_every=4 * schedule.log_every,
    )  # fmt: skip
    results = evaluate_clips(Predictor.load(folder / "depth.safetensors"), find_clips(data, "test"), protocol)
    if labels:
        shutil.rmtree(labels)  # large, and quickly made again
    kept = ("step", "val_all", "val_static", "val_dynamic", "photometric")
    return {
        "variant": job.variant,
        "title": variant.title,
        "seed": job.seed,
        "summary": results.summary(),
        "by_clip": by_clip(results),
        "coverage": coverage,
        "curve": [{key: entry[key] for key in kept if key in entry} for entry in log if "val_all" in entry],
        "settings": grid.settings(job),
        "seconds": {
            "preparing": round(prepared - began, 1),
            "training": round(time.perf_counter() - prepared, 1),
            "processor": round(time.process_time() - processor, 1),
        },
        "torch": torch.__version__,
        "device": device_name(),
    }


def protocol_of(grid: Grid, world: str) -> Protocol:
    """The world's evaluation protocol, without edge errors."""
    return dataclasses.replace(get_protocol(grid.world(world).protocol), dense=False)
