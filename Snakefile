"""The tutorial as a workflow: one rule a notebook, and one for the book (`make tutorial`).

    snakemake --cores 2 --config profile=smoke [run=NAME]

Stages and what they read stand in notebooks/pipeline.yaml, their parameters in configs/<profile>.yaml. A stage is finished when
its stage.json exists; the executed notebook is its log, so that it survives a failure.
"""

import os
import sys
from pathlib import Path

from ssmde_lib.errors import UserError
from ssmde_lib.pipeline.parameters import find_root, pipeline, profile_parameters, runs_folder

PROFILE = config.get("profile", "laptop")
RUN = config.get("run", PROFILE)
ROOT = find_root(Path(workflow.basedir))
STAGES = pipeline(ROOT)
FOLDER = Path(os.path.relpath(runs_folder(ROOT) / RUN))

try:
    PARAMETERS = {stage: profile_parameters(ROOT, PROFILE, stage) for stage in STAGES}
except UserError as error:
    sys.exit(f"Error: {error}")


rule book:
    input:
        expand(FOLDER / "{stage}/stage.json", stage=STAGES),
    output:
        FOLDER / "book/index.html",
    shell:
        "ssmde book {FOLDER:q}"


for stage, upstream in STAGES.items():

    rule:
        name:
            stage
        input:
            upstream=[FOLDER / name / "stage.json" for name in upstream],
            notebook=f"notebooks/{stage}.ipynb",
        output:
            FOLDER / stage / "stage.json",
        log:
            FOLDER / f"notebooks/{stage}.ipynb",
        params:
            stage=stage,
            overrides=PARAMETERS[stage],
        threads: 1
        shell:
            "OMP_NUM_THREADS={threads} ssmde run {params.stage} --profile {PROFILE} --run {RUN} --output {log:q}"
