"""Time of one training step by part, beside a literal reference in the same process, as JSON.

OMP_NUM_THREADS=2 python benchmarks/step.py --height 192 --width 640 --loss base
"""

import json
import os
import resource
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import ClassVar
from unittest.mock import patch

import click
import torch
import torch.nn.functional as F
from torch import Tensor

from ssmde_lib.geometry.motion import rigid
from ssmde_lib.losses import (
    Losses,
    normal_loss,
    ranking_loss,
    self_supervised,
    self_supervised_loss,
    upsample,
)
from ssmde_lib.networks.depth_net import DepthNet
from ssmde_lib.networks.pose_net import PoseNet
from ssmde_lib.networks.resnet import ResNetEncoder

MODES = ("no", "default", "reduce-overhead")  # of torch.compile


class Step:
    """One optimiser step of the base loss, or of the full stage-1 loss (geometry, ranking, normals), on fixed data.

    The full loss has both directions of warping, geometry, ranking and normals.

    `source_gradient`: which sources' depths carry a gradient: "none"; "both", as the literal reference; or "one", drawn
    anew each step and counted twice, which is the gradient of "both" on average (the other source's depth is a constant
    of that step).
    """

    def __init__(
        self,
        data: dict[str, Tensor],
        loss: str = "base",
        network_width: int = 64,
        source_gradient: str = "none",
        precision: str = "fp32",
        channels_last: bool = False,
        compile: str = "no",
    ):
        torch.manual_seed(0)
        self.data, self.full, self.source_gradient, self.bf16 = (
            data,
            loss == "full",
            source_gradient,
            precision == "bf16",
        )
        device = data["tgt"].device
        self.depth_net, self.pose_net = DepthNet(width=network_width).to(device), PoseNet().to(device)
        for net in (self.depth_net, self.pose_net):
            if channels_last:
                net.to(memory_format=torch.channels_last)
            if compile != "no":
                net.compile(mode=compile)
        self.params = [*self.depth_net.parameters(), *self.pose_net.parameters()]
        self.optimizer = torch.optim.Adam(self.params, 1e-4, fused=True)
        self.weights = Losses(geometry=0.1, smoothness=1e-3)
        self.generator, self.coin = torch.Generator(device).manual_seed(0), torch.Generator().manual_seed(0)

    def loss(self) -> Tensor:
        images = {k: self.data[k] for k in ("tgt", "prev", "next")}
        tgt, sources, K = (
            images["tgt"],
            torch.cat([images["prev"], images["next"]]),
            self.data["K"][:, :3, :3].contiguous(),
        )
        with torch.autocast(tgt.device.type, torch.bfloat16, enabled=self.bf16):
            motion = self.pose_net(torch.cat([tgt, tgt]), sources)
            disparities = self.depth_net(tgt)
            source_depths = self.source_depths() if self.full else None
        T = dict(zip(("prev", "next"), rigid(motion).chunk(2), strict=True))
        depths = [self.depth_net.depth(d) for d in upsample(disparities, tgt.shape[-2:])]
        result = self_supervised_loss(images, disparities, depths, source_depths, K, T, self.weights)
        loss = sum(result.terms.values())
        if self.full:
            loss = loss + 0.1 * self.prior_loss(depths[0], K, result.weight)
        return loss

    def source_depths(self) -> dict[str, Tensor]:
        names = ["prev", "next"]
        if self.source_gradient == "one":
            name = names.pop(torch.randint(2, (), generator=self.coin).item())
            depth = self.depth_net.depth(self.depth_net(self.data[name])[0])
            depth.register_hook(lambda gradient: 2 * gradient)
            with torch.no_grad():
                return {name: depth, names[0]: self.depth_net.depth(self.depth_net(self.data[names[0]])[0])}
        with torch.set_grad_enabled(self.source_gradient == "both"):
            depths = self.depth_net.depth(self.depth_net(torch.cat([self.data[name] for name in names]))[0])
        return dict(zip(names, depths.chunk(2), strict=True))

    def prior_loss(self, depth: Tensor, K: Tensor, reliability: Tensor) -> Tensor:
        pseudo = self.data["pseudo"]
        return ranking_loss(depth, pseudo, self.generator, reliability) + normal_loss(depth, pseudo, K)

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def optimise(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()

    def step(self) -> Tensor:
        """The loss, which nothing here waits for."""
        loss = self.loss()
        self.backward(loss)
        self.optimise()
        return loss.detach()

    @torch.inference_mode()
    def infer(self) -> Tensor:
        """Depth of the first target image."""
        self.depth_net.eval()
        depth = self.depth_net.depth(self.depth_net(self.data["tgt"][:1])[0])
        self.depth_net.train()
        return depth


def make(batch: int, height: int, width: int, data: dict[str, Tensor] | None = None, **options) -> Step:
    """A step on `data` (tgt, prev, next "b 3 h w", pseudo "b 1 h w", K "b 4 4"), random where None.

    On the data's device; options are Step's.
    """
    return Step(random_data(batch, height, width) if data is None else data, **options)


def random_data(batch: int, height: int, width: int) -> dict[str, Tensor]:
    """Smooth random images with some noise, so that warping and the auto-mask have something to decide and no ties."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(4, batch, 3, height // 8 + 1, width // 8 + 1, generator=generator)
    noise = torch.rand(4, batch, 3, height, width, generator=generator)
    images = [
        0.9 * F.interpolate(x, (height, width), mode="bilinear") + 0.1 * n for x, n in zip(coarse, noise, strict=True)
    ]
    K = torch.tensor(
        [[0.58 * width, 0, width / 2, 0], [0, 1.92 * height, height / 2, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    ).repeat(batch, 1, 1)
    named = dict(zip(("tgt", "prev", "next"), images, strict=False))
    return named | {"pseudo": images[3].mean(1, keepdim=True) * 10 + 0.1, "K": K, "inv_K": torch.linalg.inv(K)}


class Clock:
    """CPU seconds by part: wraps functions while it is open."""

    PARTS: ClassVar = {
        "pose": [(PoseNet, "forward")],
        "depth": [(DepthNet, "forward")],
        "encoder": [(ResNetEncoder, "forward")],
        "warp": [(self_supervised, "reproject"), (self_supervised, "sample")],
        "SSIM": [(self_supervised, "photometric_error"), (self_supervised, "window_statistics")],
        "prior": [(Step, "prior_loss")],
        "backward": [(Step, "backward")],
        "optimiser": [(Step, "optimise")],
    }

    def __init__(self):
        self.seconds = defaultdict(float)

    def timed(self, part: str, function):
        def wrapper(*args, **kwargs):
            began = time.process_time()
            result = function(*args, **kwargs)
            self.seconds[part] += time.process_time() - began
            return result

        return wrapper

    def measure(self, step: Step) -> dict[str, float]:
        patches = [
            patch.object(o, n, self.timed(part, getattr(o, n)))
            for part, targets in self.PARTS.items()
            for o, n in targets
        ]
        for p in patches:
            p.start()
        self.timed("step", step.step)()
        for p in patches:
            p.stop()
        s = self.seconds
        s["decoder"] = s.pop("depth") - s["encoder"]
        known = ("pose", "encoder", "decoder", "warp", "SSIM", "prior", "backward", "optimiser")
        s["other"] = s["step"] - sum(s[k] for k in known)
        return dict(s)


def fastest(functions: list, repeats: int) -> list[dict[str, float]]:
    """Smallest wall and CPU seconds of some repeats of each, in turn, so that a busy machine slows all alike.

    After one to warm up.
    """
    best = [{"wall_s": float("inf"), "cpu_s": float("inf")} for _ in functions]
    for function in functions:
        function()
    for _ in range(repeats):
        for function, record in zip(functions, best, strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            function()
            record["wall_s"] = min(record["wall_s"], time.perf_counter() - wall)
            record["cpu_s"] = min(record["cpu_s"], time.process_time() - cpu)
    return best


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@click.command()
@click.option("--batch", default=4)
@click.option("--height", default=192)
@click.option("--width", default=640)
@click.option("--loss", type=click.Choice(["base", "full"]), default="base")
@click.option("--network-width", default=64)
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32")
@click.option(
    "--source-gradient",
    type=click.Choice(["none", "one", "both"]),
    default="none",
    help="Which sources' depths carry a gradient.",
)
@click.option("--channels-last", is_flag=True)
@click.option("--compile", type=click.Choice(MODES), default="no", is_flag=False, flag_value="default")
@click.option("--repeats", default=3)
@click.option(
    "--reference/--no-reference",
    default=True,
    help="Time the literal reference too (after ours, so that peak memory is told apart).",
)
def main(
    batch, height, width, loss, network_width, precision, source_gradient, channels_last, compile, repeats, reference
):
    data = random_data(batch, height, width)
    before = peak_mib()
    step = make(batch, height, width, data, loss=loss, network_width=network_width, precision=precision,
                source_gradient=source_gradient, channels_last=channels_last, compile=compile)  # fmt: skip
    report = {
        "loss": loss,
        "batch": batch,
        "size": [height, width],
        "network_width": network_width,
        "precision": precision,
        "source_gradient": source_gradient,
        "channels_last": channels_last,
        "compile": compile,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
    }
    step.step()
    report["parts_cpu_s"] = Clock().measure(step)
    report["peak_mib"], report["peak_mib_before"] = peak_mib(), before
    if reference:
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
        from reference.step import LiteralStep

        report["step"], report["infer"], report["reference"] = fastest(
            [step.step, step.infer, LiteralStep(data, loss).step], repeats
        )
        report["reference_peak_mib"] = peak_mib()
        report["cpu_ratio"] = report["reference"]["cpu_s"] / report["step"]["cpu_s"]
    else:
        report["step"], report["infer"] = fastest([step.step, step.infer], repeats)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
