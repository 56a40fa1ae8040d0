"""One notebook is one stage: its parameters, its manifest `stage.json`, and its headless execution.

A notebook begins with `stage = begin("04_pose_and_depth", globals())` and ends with `stage.finish(metrics={...})`.
Which stages it may read stands in `notebooks/pipeline.yaml`, which the Snakefile reads too.
"""

from ssmde_lib.pipeline.opening import begin

__all__ = ["begin"]
