"""The objective of a training: self-supervision, the prior under its forgetting factor, and distillation."""

import copy
import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ssmde_lib.errors import UserError
from ssmde_lib.geometry.direct_pose import refine_pose
from ssmde_lib.geometry.motion import inverse
from ssmde_lib.geometry.relative_depth import centred_log_ratio
from ssmde_lib.labels.filters import MULTI_VIEW, Filter, filter_labels
from ssmde_lib.losses import (
    ceiling_loss,
    distillation_loss,
    dynamic_pixels,
    edge_normal_loss,
    forgetting_factor,
    log_ratio_loss,
    normal_loss,
    ranking_loss,
    self_supervised_loss,
    ssi_loss,
    upsample,
)
from ssmde_lib.losses.config import Losses
from ssmde_lib.losses.photometric import window_statistics
from ssmde_lib.losses.self_supervised import SOURCES, minimum_error, smoothness_term, warp_and_compare
from ssmde_lib.networks.depth_and_pose import DepthAndPose, Prediction
from ssmde_lib.training.batch import Batch
from ssmde_lib.training.schedule import linear_ramp


class Objective:
    """`objective(model, batch, progress, generator)` returns the named, weighted loss terms of a batch of triplets.

    Holds the online teacher, if there is one; `after_step` moves it, `state_dict` keeps it for a resumed run.
    """

    def __init__(self, losses: Losses, model: DepthAndPose):
        self.filter = Filter(losses.filter)
        online = losses.has_online_teacher
        if online and self.filter.kind == MULTI_VIEW:
            raise UserError("an online teacher has no clip to see: choose a mask filter, or write labels in stage 07.")
        self.losses = losses
        if not losses.self_supervised:
            model.pose_net.requires_grad_(False)  # nothing teaches it; processes would wait for its gradients
        self.depth = model.depth_net.depth
        self.teacher = copy.deepcopy(model.depth_net).requires_grad_(False).eval() if online else None

    def __call__(
        self, model: nn.Module, batch: Batch, progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The weighted terms, whose sum is the loss."""
        images = {name: batch[name] for name in ("tgt", *SOURCES)}
        seen = (batch["tgt_aug"], batch["prev_aug"], batch["next_aug"])
        source_depths = bool(self.losses.geometry) or self.losses.judges_motion
        prediction = model(*seen, source_depths=source_depths, motion=self.losses.moves)
        K, size = batch["K"], images["tgt"].shape[-2:]
        compared = prediction.disparities if self.losses.pyramid else upsample(prediction.disparities, size)
        depths = [self.depth(d) for d in compared[: self.losses.photometric_scales]]
        if prediction.T and self.losses.direct_pose_iterations and progress >= self.losses.direct_pose_from:
            prediction.T = refined_motion(prediction.T, images, depths[0], K, self.losses.direct_pose_iterations)
        if self.losses.self_supervised:
            disparities, sources = prediction.disparities[: len(depths)], prediction.source_depths
            base = self_supervised_loss(images, disparities, depths, sources, K, prediction.T, self.losses)
            terms, reliability = dict(base.terms), base.weight
        else:
            smoothness = smoothness_term(prediction.disparities[: len(depths)], images["tgt"])
            terms, reliability = {"smoothness": self.losses.smoothness * smoothness}, None
        if "geometry" in terms:
            terms["geometry"] = terms["geometry"] * linear_ramp(progress, self.losses.geometry_warmup)
        if self.losses.uses_prior:
            terms |= self.prior_terms(depths[0], batch, reliability, progress, generator)
        if self.losses.distillation:
            teacher_depth, mask = self.teacher_targets(images, batch, K, prediction)
            term = distillation_loss(depths[0], teacher_depth, mask, self.losses.distillation_kind)
            growth = 1.0 if self.teacher is None else linear_ramp(progress, self.losses.self_warmup)
            terms["distillation"] = self.losses.distillation * growth * term
        if self.losses.successive:
            terms["successive"] = self.losses.successive * successive_loss(upsample(prediction.disparities, size))
        if self.losses.multi_resolution:
            half, difference = self.multi_resolution_terms(model, seen, depths[0], images, K, prediction)
            weight = self.losses.multi_resolution * linear_ramp(progress, self.losses.self_warmup)
            terms |= {"photometric_half": half, "multi_resolution": weight * difference}
        return terms

    def prior_terms(
        self, depth: Tensor, batch: Batch, reliability: Tensor | None, progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The prior's losses under the forgetting factor and the region switch."""
        losses, relative_depth = self.losses, batch["relative_depth"]
        weight = prior_weight(losses, reliability, progress)
        calls = {
            "ranking": lambda: ranking_loss(depth, relative_depth, generator, reliability, weight),
            "normal": lambda: normal_loss(depth, relative_depth, batch["K"], weight),
            "edge_normal": lambda: edge_normal_loss(depth, relative_depth, batch["tgt"], batch["K"], generator, weight),
            "ssi": lambda: ssi_loss(depth, relative_depth, weight),
            "log_ratio": lambda: log_ratio_loss(depth, relative_depth, weight),
        }
        factor = 1.0 if weight is not None else forgetting_factor(progress, losses.forgetting, losses.rho)
        terms = {name: getattr(losses, name) * factor * call() for name, call in calls.items() if getattr(losses, name)}
        if losses.ceiling:
            terms["ceiling"] = losses.ceiling * ceiling_loss(depth, relative_depth)
        return terms

    @torch.no_grad()
    def teacher_targets(
        self, images: dict, batch: Batch, K: Tensor, prediction: Prediction
    ) -> tuple[Float[Tensor, "b 1 h w"], Bool[Tensor, "b 1 h w"]]:
        """Teacher depth and mask: read from the labels, or made here by the online teacher from undistorted images."""
        if self.teacher is None:
            return batch["teacher_depth"], batch["teacher_mask"]
        self.teacher.to(K.device)
        depth, *sources = self.depth(self.teacher(torch.cat([images["tgt"], *(images[s] for s in SOURCES)]))[0]).chunk(
            3
        )
        views = [(source, prediction.T[name].detach()) for name, source in zip(SOURCES, sources, strict=True)]
        return filter_labels(self.filter, depth, views, K, batch.get("relative_depth"))

    def multi_resolution_terms(
        self, model: nn.Module, seen: tuple, depth: Tensor, images: dict, K: Tensor, prediction: Prediction
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Predict at half resolution too, in multiples of 32.

        Per pixel the prediction with the smaller photometric error teaches the other.

        (Lee, Im, Yoon 2023.) Returns the half-resolution prediction's own photometric loss, and the mean difference in
        log-depth.
        """
        half = [
            F.interpolate(image, [max(32, round(side / 64) * 32) for side in depth.shape[-2:]], mode="area")
            for image in seen
        ]
        small = model(*half, source_depths=False).disparities[:1]
        own = self_supervised_loss(images, small, [self.depth(small[0])], None, K, prediction.T, self.losses)
        coarse = self.depth(upsample(small, depth.shape[-2:])[0])
        fine_error, coarse_error = self.errors_of((depth, coarse), images, K, prediction)
        learner_is_coarse = centred_log_ratio(coarse, depth.detach())
        learner_is_fine = centred_log_ratio(depth, coarse.detach())
        return own.terms["photometric"], torch.where(
            fine_error <= coarse_error, learner_is_coarse, learner_is_fine
        ).abs().mean()

    @torch.no_grad()
    def errors_of(
        self, depths: Sequence[Tensor], images: dict, K: Tensor, prediction: Prediction
    ) -> list[Float[Tensor, "b 1 h w"]]:
        """The photometric error of each depth, from the source that shows each pixel best."""
        statistics = window_statistics(images["tgt"])
        errors = []
        for depth in depths:
            views = [
                warp_and_compare(
                    images["tgt"], statistics, depth, images[s], None, K, prediction.T[s], self.losses.alpha
                )
                for s in SOURCES
            ]
            errors.append(minimum_error(views, None, False)[0])
        return errors

    @torch.no_grad()
    def after_step(self, model: DepthAndPose, step: int) -> None:
        """Let an online teacher follow the network."""
        if self.teacher is None:
            return
        self.teacher.to(next(model.parameters()).device)
        decay = min(
            self.losses.decay, (1 + step) / (10 + step)
        )  # follow fast at first, when the network is worth nothing
        for mine, its in zip(self.teacher.state_dict().values(), model.depth_net.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(its, 1 - decay)
            else:
                mine.copy_(its)

    def state_dict(self) -> dict:
        """The online teacher's weights."""
        return {} if self.teacher is None else self.teacher.state_dict()

    def load_state_dict(self, state: dict) -> None:
        """Go on from a saved online teacher."""
        if self.teacher is not None:
            self.teacher.load_state_dict(state)


def refined_motion(
    T: dict[str, Float[Tensor, "b 4 4"]],
    images: dict[str, Float[Tensor, "b 3 h w"]],
    depth: Float[Tensor, "b 1 h w"],
    K: Float[Tensor, "b 3 3"],
    iterations: int,
) -> dict[str, Float[Tensor, "b 4 4"]]:
    """The motions with the value after direct refinement and the gradient of the pose network's output."""
    network, sources = (torch.cat([x[s] for s in SOURCES]) for x in (T, images))
    tgt, depth, K = (torch.cat([x] * len(SOURCES)) for x in (images["tgt"], depth.detach(), K))
    refined = refine_pose(tgt, sources, depth, K, network.detach(), iterations=iterations, stride=2)
    return dict(zip(SOURCES, (refined @ inverse(network.detach()) @ network).chunk(len(SOURCES)), strict=True))


def prior_weight(
    losses: Losses, reliability: Float[Tensor, "b 1 h w"] | None, progress: float
) -> Float[Tensor, "b 1 h w"] | None:
    """Weight of the prior at each pixel: forgetting factor and region; None where every pixel has the same."""
    if (losses.region == "all" and not losses.keep_dynamic) or reliability is None:
        return None
    factor = forgetting_factor(progress, losses.forgetting, losses.rho)
    dynamic = dynamic_pixels(reliability).float()
    static_weight, dynamic_weight = factor, 1.0 if losses.keep_dynamic else factor
    if losses.region == "dynamic":
        static_weight = 0.0
    elif losses.region == "static":
        dynamic_weight = 0.0
    return static_weight * (1 - dynamic) + dynamic_weight * dynamic


def successive_loss(disparities: list[Float[Tensor, "b 1 h w"]]) -> Float[Tensor, ""]:
    """Each coarser disparity follows the next finer one, which gives it no gradient back (Xiang et al. 2024)."""
    return torch.stack([(b - a.detach()).abs().mean() for a, b in itertools.pairwise(disparities)]).sum()
