"""One configuration of all loss terms: weights and switches."""

import dataclasses
import math

from ssmde_lib.errors import UserError

CHOICES = {
    "region": ("all", "static", "dynamic"),
    "forgetting": ("exponential", "linear", "constant", "off"),
    "distillation_kind": ("silog", "log_l1", "l1"),
    "teacher": ("labels", "ema"),
}


@dataclasses.dataclass(frozen=True)
class Losses:
    """Weights and switches of every term; 0 switches a term off. Defaults: the base network, self-supervised only."""

    # Self-supervision.
    photometric: float = 1.0
    geometry: float = 0.02  # SC-Depth's 0.1 flattens depth where training is short
    # Share of the training over which geometry's weight grows from 0; at once it would favour a constant depth.
    geometry_warmup: float = 0.5
    smoothness: float = 0.01
    alpha: float = 0.85  # SSIM's share of the photometric error
    automask: bool = True
    self_discovered: bool = True  # weigh the photometric error by 1 - D_diff, where geometry consistency is on
    photometric_scales: int = 4  # how many of the decoder's scales see the photometric loss
    # Compare each scale at its own resolution, where motions are small; False: all at full resolution.
    pyramid: bool = True
    # Motion.
    direct_pose_iterations: int = 0  # Gauss-Newton steps on grey values after the pose network (direct_pose.py)
    direct_pose_from: float = 0.15  # share of the training from which on they are taken: before, depth is random
    # The single-image prior; published weights of SC-DepthV3: 0.1 each.
    ranking: float = 0.0
    normal: float = 0.0
    edge_normal: float = 0.0
    ssi: float = 0.0  # scale-and-shift-invariant term, an alternative
    log_ratio: float = 0.0  # scale-invariant term, an alternative for priors without a shift
    ceiling: float = 0.0  # never forgotten: against depth that runs away from the prior's where objects move
    # Pixels to which the prior applies: "all", "static" or "dynamic" pixels, as classified by the self-discovered mask.
    region: str = "all"
    forgetting: str = "exponential"  # schedule of the prior's weight: "exponential", "linear", "constant" or "off"
    rho: float = 0.97  # of the exponential schedule, per hundredth of the training
    keep_dynamic: bool = False  # constant weight on pixels classified as dynamic
    # Distillation.
    distillation: float = 0.0
    distillation_kind: str = "silog"  # "silog", "log_l1" or "l1"
    teacher: str = (
        "labels"  # "labels" (a frozen teacher's, written by stage 07) or "ema" (an average of the network itself)
    )
    filter: str = (
        "plain"  # mask filter of an online teacher: "none", "plain", "prior_order", "prior_depth" or "min_depth"
    )
    decay: float = 0.99  # of the EMA teacher, a step
    self_warmup: float = (
        0.5  # share of the training over which the weights of an online teacher and of multi_resolution grow from 0
    )
    # Terms of the comparison methods.
    multi_resolution: float = 0.0
    successive: float = 0.0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value not in CHOICES.get(name, (value,)):
                raise UserError(f"{name} is {value!r}: choose one of {', '.join(CHOICES[name])}.")
            if isinstance(value, float) and not 0 <= value < math.inf:
                raise UserError(f"{name} is {value}: give 0 or more.")

    @property
    def self_supervised(self) -> bool:
        """Whether the video itself teaches, not the labels or the prior alone."""
        return bool(self.photometric or self.geometry)

    @property
    def moves(self) -> bool:
        """Whether any term reads the motion between the frames."""
        return self.self_supervised or bool(self.multi_resolution) or self.has_online_teacher

    @property
    def has_online_teacher(self) -> bool:
        """Whether the network distils an average of itself, not labels that were written before."""
        return bool(self.distillation) and self.teacher != "labels"

    @property
    def weighs_by_consistency(self) -> bool:
        """Whether the photometric error is weighted by 1 - D_diff; only where the consistency itself is trained."""
        return self.self_discovered and bool(self.geometry)

    @property
    def uses_prior(self) -> bool:
        """Whether any loss reads the prior's maps."""
        return bool(self.ranking or self.normal or self.edge_normal or self.ssi or self.log_ratio or self.ceiling)

    @property
    def judges_motion(self) -> bool:
        """Whether some term treats static and dynamic pixels differently: it needs the depths of the source frames."""
        return self.uses_prior and (self.region != "all" or self.keep_dynamic)
