"""The tutorial as a workflow: one rule a notebook, and one for the book (`make tutorial`).

    snakemake --cores 2 --rerun-triggers mtime params --config profile=smoke [run=NAME]

Stages and what they read stand in notebooks/pipeline.yaml, their parameters in configs/<profile>.yaml. A stage is finished when
its stage.json exists, and made anew when its code, its parameters or the content of what it reads is no longer what stands there:
modification times do not count. The executed notebook is its log, so that it survives a failure.
"""

import os
import shutil
import sys
from pathlib import Path

from ssmde_lib.errors import UserError
from ssmde_lib.pipeline.parameters import find_root, pipeline, runs_folder
from ssmde_lib.pipeline.staleness import stale_stages

PROFILE = config.get("profile", "laptop")
RUN = config.get("run", PROFILE)
ROOT = find_root(Path(workflow.basedir))
STAGES = pipeline(ROOT)
FOLDER = Path(os.path.relpath(runs_folder(ROOT) / RUN))

try:
    STALE = stale_stages(ROOT, PROFILE, RUN)
except UserError as error:
    sys.exit(f"Error: {error}")

if workflow.is_main_process:
    shutil.rmtree(FOLDER / ".anew", ignore_errors=True)
    for stage, reasons in STALE.items():
        print(f"{stage} is executed again: {'; '.join(reasons)}.", file=sys.stderr)


def markers(*stages):
    """Files that do not exist, of the stale ones among the stages: so they are planned."""
    return [FOLDER / ".anew" / stage for stage in stages if stage in STALE]


rule book:
    input:
        expand(FOLDER / "{stage}/stage.json", stage=STAGES),
        markers(*STAGES),
    output:
        FOLDER / "book/index.html",
        [touch(FOLDER / ".anew" / "book")] if STALE else [],
    shell:
        "ssmde book {FOLDER:q}"


for stage, upstream in STAGES.items():

    rule:
        name:
            stage
        input:
            [ancient(FOLDER / name / "stage.json") for name in upstream],
            markers(*upstream),
        output:
            update(FOLDER / stage / "stage.json"),  # not removed, so that what is of the same making is reused
            [touch(path) for path in markers(stage)],
        log:
            FOLDER / f"notebooks/{stage}.ipynb",
        threads: 1
        shell:
            "OMP_NUM_THREADS={threads} ssmde run {rule} --profile {PROFILE} --run {RUN} --output {log:q}"
