"""Evaluation of the trained variants on held-out clips.

The few test clips of the grid were used to select filters, schedules and training lengths. Small differences are
therefore evaluated again on more clips, rendered with another seed.
"""

import json
from functools import partial

from ssmde_lib.ablation.grid import Grid, Job
from ssmde_lib.ablation.records import read_records
from ssmde_lib.ablation.run import DONE, measure_baselines, measure_once, prepare_data, protocol_of
from ssmde_lib.ablation.variants import VARIANTS
from ssmde_lib.data.layout import find_clips
from ssmde_lib.errors import UserError
from ssmde_lib.inference.predictor import Predictor
from ssmde_lib.synthetic import write_world

WORLD_SEED = 1000  # the grid's worlds have seed 0


def measure_held_out(grid: Grid, name: str, clips: int) -> list[dict]:
    """Evaluate the trivial baselines and every variant with weights on `clips` held-out clips of a synthetic world.

    Returns `held_out_records`; existing ones are reused. UserError for real video, which has no more clips.
    """
    world = grid.world(name)
    if world.folder:
        raise UserError(
            f"{name} is one clip of real video: choose "
            f"{' or '.join(w.name for w in grid.worlds.values() if not w.folder)}."
        )
    data, folder, protocol = (
        grid.data_folder(name).with_name("held_out"),
        grid.results / name / "held_out",
        protocol_of(grid, name),
    )
    write_world(data, name, {"test": clips}, world.test_frames, world.height, world.width, WORLD_SEED, workers=1)
    seen = find_clips(data, "test")[:clips]
    measure_baselines(folder, prepare_data(grid, name), seen, protocol, settings_of(grid, name, clips))
    for job in grid.jobs:
        if job.world == name and (grid.folder(job) / DONE).is_file():
            record = {
                "variant": job.variant,
                "title": VARIANTS[job.variant].title,
                "seed": job.seed,
                "settings": settings_of(grid, name, clips, job),
            }
            predictor = partial(Predictor.load, grid.folder(job) / "depth.safetensors")
            measure_once(folder / grid.record_path(job).name, record, predictor, seen, protocol)
    return held_out_records(grid, name, clips)


def held_out_records(grid: Grid, name: str, clips: int = 30) -> list[dict]:
    """Records, as `table` and `paired` take them, of a world's variants on `clips` held-out clips.

    Those with other settings are omitted.
    """
    found = read_records(grid.results / grid.world(name).name / "held_out")
    return [
        r
        for r in found
        if r["settings"]
        == settings_of(grid, name, clips, None if r["seed"] is None else Job(name, r["variant"], r["seed"]))
    ]


def settings_of(grid: Grid, name: str, clips: int, job: Job | None = None) -> dict:
    """Everything that an error on held-out clips depends on, as JSON; without a job, of a baseline."""
    about = {
        "clips": clips,
        "frames": grid.world(name).test_frames,
        "seed": WORLD_SEED,
        "data": grid.data_settings(name),
    }
    return json.loads(json.dumps(about | ({"training": grid.settings(job)} if job else {})))
