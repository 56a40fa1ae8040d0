"""The ablation as a workflow (`make ablation`): one job is one (world, variant, seed), executed as notebook A2; A3 shows all records.

    snakemake --snakefile workflow/ablation.smk --cores 2 --config profile=smoke

The grid stands in workflow/ablation.yaml. Which jobs are left is decided here, by their committed records (results/ablation): a job whose
record has the settings asked for is not planned. Every output lies in a folder named by the hash of its settings. GPU, memory and time
of a rule count on a cluster (CLUSTER=slurm|kubernetes); without GPUs there: --set-resources, or gpu=0 here.
"""

import os
import sys
from pathlib import Path

from ssmde_lib.ablation import VARIANTS, Grid, publish
from ssmde_lib.errors import UserError
from ssmde_lib.pipeline.parameters import find_root, runs_folder

PROFILE = config.get("profile", "laptop")
ROOT = find_root(Path(workflow.basedir))
RUNS = runs_folder(ROOT)

try:
    GRID = Grid.read(PROFILE, ROOT, RUNS)
    publish(GRID)
    LEFT = GRID.unfinished()
except UserError as error:
    sys.exit(f"Error: {error}")

for sentence in GRID.absent.values():
    print(sentence, file=sys.stderr)
for job, changes in GRID.stale().items():
    print(f"{job} is run again, its record is stale: {'; '.join(changes)}", file=sys.stderr)


def done(folder):
    return os.path.relpath(folder / "done.json")


def needs(job):
    """What a job reads: the data, the maps of its prior, and its teachers' weights."""
    found = [done(GRID.data_folder(job.world))]
    if GRID.needs_prior(job):
        found.append(done(GRID.pseudo_folder(job.world, VARIANTS[job.variant].quality)))
    return found + [done(GRID.folder(teacher)) for teacher in GRID.teachers_of(job)]


rule summary:
    input:
        [done(GRID.folder(job)) for job in LEFT],
        [os.path.relpath(GRID.record_path(job)) for job in GRID.jobs if job not in LEFT],
        "notebooks/A3_ablation.ipynb",
    output:
        os.path.relpath(RUNS / f"ablation/{PROFILE}/A3_ablation/stage.json"),
    log:
        os.path.relpath(RUNS / f"ablation/{PROFILE}/notebooks/A3_ablation.ipynb"),
    shell:
        "ssmde run A3_ablation -p grid_profile {PROFILE} --run ablation/{PROFILE} --output {log:q}"


for world in {job.world for job in GRID.jobs}:

    rule:
        name:
            f"data_{world}"
        output:
            done(GRID.data_folder(world)),
        params:
            world=world,
        shell:
            "ssmde ablation prepare --world {params.world} --profile {PROFILE}"

    for quality in {VARIANTS[job.variant].quality for job in GRID.jobs if job.world == world and GRID.needs_prior(job)}:

        rule:
            name:
                f"pseudo_{quality}_{world}"
            input:
                done(GRID.data_folder(world)),
            output:
                done(GRID.pseudo_folder(world, quality)),
            params:
                world=world,
                quality=quality,
            resources:
                gpu=1,
                mem_mb=16000,
                runtime=60,
            shell:
                "OMP_NUM_THREADS={threads} ssmde ablation prepare --world {params.world} --quality {params.quality} --profile {PROFILE}"


for place, job in enumerate(GRID.jobs):

    rule:
        name:
            f"{job.world}_{job.variant}_seed{job.seed}"
        input:
            needs(job),
        output:
            done(GRID.folder(job)),
        log:
            os.path.relpath(RUNS / f"ablation/{PROFILE}/notebooks/{job.world}_{job.variant}_seed{job.seed}.ipynb"),
        params:
            job=job,
        priority: -place  # the main variants come first
        threads: 1
        resources:
            gpu=1,
            mem_mb=16000,
            runtime=240,
        shell:
            "OMP_NUM_THREADS={threads} ssmde run A2_one_variant -p grid_profile {PROFILE} -p world {params.job.world} -p variant {params.job.variant}"
            " -p seed {params.job.seed} --run ablation/{PROFILE}/{params.job} --output {log:q}"
