"""Self-supervised self-distillation for monocular depth: the method, in small modules (docs/design.md).

Nothing is imported before it is used, so that the command line answers at once.
"""

from importlib import import_module
from typing import Any

PUBLIC = {"Predictor": "inference.predictor", "load_depth_network": "inference.predictor"}


def __getattr__(name: str) -> Any:
    if name in PUBLIC:
        return getattr(import_module(f"ssmde_lib.{PUBLIC[name]}"), name)
    raise AttributeError(f"module 'ssmde_lib' has no attribute {name!r}")
