"""The forgetting factor and the distillation loss."""

import pytest
import torch
from reference import losses as literal

from ssmde_lib.errors import UserError
from ssmde_lib.losses import distillation_loss, forgetting_factor


def test_forgetting_closed_forms():
    assert forgetting_factor(0.0) == 1
    assert forgetting_factor(1.0) == pytest.approx(0.0476, abs=1e-4)
    assert forgetting_factor(0.25) ** 4 == pytest.approx(forgetting_factor(1.0))
    assert forgetting_factor(0.5, rho=0.9, epochs=10) == pytest.approx(0.9**5)
    assert [forgetting_factor(0.3, kind) for kind in ("linear", "constant", "off")] == [0.7, 1.0, 0.0]


def test_forgetting_refuses_what_it_does_not_know():
    with pytest.raises(UserError, match="'cosine'.*exponential, linear, constant, off"):
        forgetting_factor(0.5, "cosine")
    with pytest.raises(UserError, match=r"1\.5"):
        forgetting_factor(1.5)


def depths():
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.rand(2, 3, 1, 6, 7, generator=generator, dtype=torch.float64) * 5 + 0.2
    mask = torch.rand(3, 1, 6, 7, generator=generator) > 0.4
    mask[2] = False
    return student.requires_grad_(), teacher, mask


@pytest.mark.parametrize("kind", ["silog", "log_l1", "l1"])
def test_distillation_against_the_literal_reference(kind):
    student, teacher, mask = depths()
    want = literal.distillation(*(x.detach().flatten(1).numpy() for x in (student, teacher, mask)), kind)
    assert distillation_loss(student, teacher, mask, kind).item() == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("kind", ["silog", "log_l1"])
def test_scale_free_kinds_ignore_scale_and_l1_does_not(kind):
    student, teacher, mask = depths()
    scaled = student * torch.tensor([0.1, 7.0, 3.0], dtype=torch.float64).view(3, 1, 1, 1)
    assert distillation_loss(scaled, teacher, mask, kind).item() == pytest.approx(
        distillation_loss(student, teacher, mask, kind).item(), rel=1e-9
    )
    assert (
        distillation_loss(scaled, teacher, mask, "l1").item()
        > 1.5 * distillation_loss(student, teacher, mask, "l1").item()
    )


@pytest.mark.parametrize("kind", ["silog", "log_l1", "l1"])
@pytest.mark.parametrize("case", ["equal", "gap of 100", "empty mask", "garbage outside"])
def test_distillation_gradients_are_finite_and_stay_inside_of_the_mask(kind, case):
    student, teacher, mask = depths()
    student = student.detach()
    if case == "equal":
        teacher = student.clone()
    if case == "gap of 100":
        student = torch.where(mask & (teacher > 2), 100.0, 0.01).double()
    if case == "empty mask":
        mask = torch.zeros_like(mask)
    if case == "garbage outside":
        teacher = teacher.masked_fill(~mask, 0.0).masked_fill(~mask & (student > 3), torch.nan)
    student.requires_grad_()
    loss = distillation_loss(student, teacher, mask, kind)
    loss.backward()
    assert loss.isfinite() and student.grad.isfinite().all() and (student.grad[~mask] == 0).all()
    if case == "empty mask":
        assert loss.item() == 0


def test_distillation_refuses_an_unknown_kind():
    with pytest.raises(UserError, match="'l2'.*silog, log_l1, l1"):
        distillation_loss(*depths(), "l2")
