"""The priors of the grid by quality: what their maps depend on, and the options of their providers."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import pooch

from ssmde_lib.ablation.variants import QUALITIES
from ssmde_lib.networks.dinov2 import SHA256
from ssmde_lib.prior.dinov2_small import BEST, BUNDLED_HEAD
from ssmde_lib.prior.providers import leres_small


class Prior(NamedTuple):
    """What the maps depend on, the provider's name among it, and the provider's options."""

    describe: Callable[[], dict]
    options: dict


@cache
def bundled_prior() -> dict:
    """The part of the bundled prior's description on which its maps depend."""
    about = leres_small().describe()
    return {key: about[key] for key in ("provider", "sha256", "test_time_augmentation")}


@cache
def dinov2_prior() -> dict:
    """The same of dinov2_small in one pass; known without the package that holds its backbone."""
    head = pooch.file_hash(str(BUNDLED_HEAD))
    return {
        "provider": "dinov2_small",
        "sha256": head,
        "backbone": SHA256,
        "test_time_augmentation": "one",
        "tokens": BEST,
    }


PRIORS = dict.fromkeys(QUALITIES, Prior(bundled_prior, {})) | {"dinov2_small": Prior(dinov2_prior, {"flip": False})}
