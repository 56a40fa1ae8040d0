"""The student follows its teacher's depth where the multi-view mask trusts it, up to scale."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssmde_lib.errors import UserError
from ssmde_lib.geometry.relative_depth import centred_log_ratio, log_ratio

SMALLEST = 1e-6  # of a variance inside of a square root


def distillation_loss(
    student_depth: Float[Tensor, "b 1 h w"],
    teacher_depth: Float[Tensor, "b 1 h w"],
    mask: Bool[Tensor, "b 1 h w"],
    kind: str = "silog",
) -> Float[Tensor, ""]:
    """Mean over the images of a masked difference of depths; an image with an empty mask counts 0.

    With D = log student - log teacher: "silog" is the standard deviation of D (Eigen et al. 2014 with lambda = 1, fully
    invariant to scale), "log_l1" the mean |D - median D|, "l1" the mean |student - teacher| at equal scale.
    """
    if kind not in KINDS:
        raise UserError(f"unknown distillation loss {kind!r}: choose one of {', '.join(KINDS)}.")
    mask = mask.flatten(1)
    student = torch.where(
        mask, student_depth.flatten(1), 1.0
    )  # whatever lies outside of the mask, NaN too, has no gradient
    teacher = torch.where(mask, teacher_depth.flatten(1), 1.0)
    return KINDS[kind](student, teacher, mask).mean()


def image_mean(x: Float[Tensor, "b n"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, " b"]:
    """Masked mean of each image, 0 where its mask is empty."""
    return (x * mask).sum(1) / mask.sum(1).clamp(min=1)


def silog(
    student: Float[Tensor, "b n"], teacher: Float[Tensor, "b n"], mask: Bool[Tensor, "b n"]
) -> Float[Tensor, " b"]:
    """Standard deviation of the log ratio; bounded gradient where it vanishes."""
    difference = log_ratio(student, teacher)
    variance = image_mean((difference - image_mean(difference, mask)[:, None]).square(), mask)
    return (variance + SMALLEST).sqrt() * mask.any(1)


def log_l1(
    student: Float[Tensor, "b n"], teacher: Float[Tensor, "b n"], mask: Bool[Tensor, "b n"]
) -> Float[Tensor, " b"]:
    """Mean absolute log ratio after the median's is removed."""
    return image_mean(centred_log_ratio(student, teacher, mask).abs(), mask)


def l1(student: Float[Tensor, "b n"], teacher: Float[Tensor, "b n"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, " b"]:
    """Mean absolute difference."""
    return image_mean((student - teacher).abs(), mask)


KINDS = {"silog": silog, "log_l1": log_l1, "l1": l1}
