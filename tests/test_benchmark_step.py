"""The step's benchmark: its interface, and the same value as the straightforward step with the same networks."""

import importlib.util
from pathlib import Path

import pytest
import torch
from reference.step import LiteralStep

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def step_benchmark():
    spec = importlib.util.spec_from_file_location("step_benchmark", ROOT / "benchmarks" / "step.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_interface(step_benchmark):
    step = step_benchmark.make(2, 64, 64, network_width=16, loss="full")
    before = [p.detach().clone() for p in step.params]
    losses = [step.step().item() for _ in range(2)]
    assert all(0 < loss < 10 for loss in losses)
    assert all(p.isfinite().all() for p in step.params) and not any(
        torch.equal(p, b) for p, b in zip(step.params, before, strict=True)
    )
    assert step.infer().shape == (1, 1, 64, 64)


def test_clock_adds_up(step_benchmark):
    step = step_benchmark.make(1, 64, 64, network_width=16, loss="full")
    parts = step_benchmark.Clock().measure(step)
    total = parts.pop("step")
    assert (
        sum(parts.values()) == pytest.approx(total)
        and min(parts[k] for k in ("pose", "encoder", "decoder", "warp", "SSIM", "prior", "backward")) > 0
    )


def test_base_loss_equals_the_literal_steps(step_benchmark):
    data = step_benchmark.random_data(2, 64, 96)
    step, literal = step_benchmark.make(2, 64, 96, data), LiteralStep(data)
    literal.depth_net, literal.pose_net = step.depth_net, step.pose_net
    step.depth_net.eval(), step.pose_net.eval()  # one pass over both sources has other batch statistics than two passes
    assert step.loss().item() == pytest.approx(literal.loss().item(), abs=1e-5)


@pytest.mark.parametrize("source_gradient", ["none", "one", "both"])
def test_full_loss_equals_the_literal_steps(step_benchmark, monkeypatch, source_gradient):
    """Both ways, geometry, ranking, normals; here the ranking draws its pairs evenly, as the literal step does."""
    data = step_benchmark.random_data(2, 64, 96)
    step, literal = (
        step_benchmark.make(2, 64, 96, data, loss="full", source_gradient=source_gradient),
        LiteralStep(data, "full"),
    )
    literal.depth_net, literal.pose_net = step.depth_net, step.pose_net
    step.depth_net.eval(), step.pose_net.eval()
    prior_loss = step.prior_loss
    monkeypatch.setattr(step, "prior_loss", lambda depth, K, reliability: prior_loss(depth, K, None))
    assert step.loss().item() == pytest.approx(literal.loss().item(), abs=1e-5)


def test_the_gradient_through_one_source_is_that_through_both_on_average(step_benchmark, monkeypatch):
    step = step_benchmark.make(1, 64, 64, loss="full", network_width=16)
    monkeypatch.setattr(step, "prior_loss", lambda *_: 0)  # it knows no sources, and draws
    step.depth_net.eval(), step.pose_net.eval()

    def gradient(source_gradient: str) -> torch.Tensor:
        step.source_gradient = source_gradient
        return torch.cat([g.flatten() for g in torch.autograd.grad(step.loss(), step.depth_net.parameters())])

    none, both, drawn = gradient("none"), gradient("both"), {}
    for seed in range(4):
        side = torch.randint(2, (), generator=step.coin.manual_seed(seed)).item()
        step.coin.manual_seed(seed)
        drawn[side] = gradient("one")
    added = (both - none).norm()
    assert added > 0.02 * both.norm() and (drawn[0] - drawn[1]).norm() > 0.1 * added
    assert (drawn[0] + drawn[1] - 2 * both).norm() < 1e-3 * added
