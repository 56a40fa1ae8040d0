"""The losses, each a small function that returns a scalar: self-supervised, prior, forgetting, distillation."""

from ssmde_lib.losses.config import Losses
from ssmde_lib.losses.distillation import distillation_loss
from ssmde_lib.losses.forgetting import forgetting_factor
from ssmde_lib.losses.prior import (
    ceiling_loss,
    dynamic_pixels,
    edge_normal_loss,
    log_ratio_loss,
    normal_loss,
    ranking_loss,
    ssi_loss,
)
from ssmde_lib.losses.self_supervised import SelfSupervised, self_supervised_loss, upsample

__all__ = [
    "Losses",
    "SelfSupervised",
    "ceiling_loss",
    "distillation_loss",
    "dynamic_pixels",
    "edge_normal_loss",
    "forgetting_factor",
    "log_ratio_loss",
    "normal_loss",
    "ranking_loss",
    "self_supervised_loss",
    "ssi_loss",
    "upsample",
]
