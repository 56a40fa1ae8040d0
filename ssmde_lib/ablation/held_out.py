"""The trained rows measured again, on clips by which nothing was chosen.

The grid's test clips were looked at whenever a filter, a schedule or a length was chosen, and they are few. What the
tables say of small differences is put to the test on more clips, of another seed.
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
    """Measure the trivial baselines and every row whose weights lie here on `clips` new clips of an embedded world.

    Returns `fresh_records`, in which they are kept and not made again. UserError for real video, which has no more
    clips.
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
    """Records, as `table` and `paired` take them, of a world's rows on `clips` new clips.

    Those made with other settings are left out.
    """
    found = read_records(grid.results / grid.world(name).name / "held_out")
    return [
        r
        for r in found
        if r["settings"]
        == settings_of(grid, name, clips, None if r["seed"] is None else Job(name, r["variant"], r["seed"]))
    ]


def settings_of(grid: Grid, name: str, clips: int, job: Job | None = None) -> dict:
    """All that a figure on new clips depends on, as JSON; without a job, of a baseline."""
    about = {
        "clips": clips,
        "frames": grid.world(name).test_frames,
        "seed": WORLD_SEED,
        "data": grid.data_settings(name),
    }
    return json.loads(json.dumps(about | ({"training": grid.settings(job)} if job else {})))
