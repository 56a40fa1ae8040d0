"""A training step written straightforwardly from the published formulas, as common implementations do it.

Nothing is shared: SSIM by avg_pool2d for every scale and source, statistics of the target each time, the identity error
at every scale, one pose pass a pair, one depth pass an image, all with gradient.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ssmde_lib.networks.depth_net import DepthNet
from ssmde_lib.networks.resnet import ResNetEncoder


def ssim_error(x, y):
    pool = nn.AvgPool2d(3, 1)
    x, y = F.pad(x, (1, 1, 1, 1), mode="reflect"), F.pad(y, (1, 1, 1, 1), mode="reflect")
    mu_x, mu_y = pool(x), pool(y)
    var_x, var_y, cov = pool(x**2) - mu_x**2, pool(y**2) - mu_y**2, pool(x * y) - mu_x * mu_y
    n = (2 * mu_x * mu_y + 1e-4) * (2 * cov + 9e-4)
    d = (mu_x**2 + mu_y**2 + 1e-4) * (var_x + var_y + 9e-4)
    return torch.clamp((1 - n / d) / 2, 0, 1)


def photometric_error(x, y):
    return 0.85 * ssim_error(x, y).mean(1, True) + 0.15 * (x - y).abs().mean(1, True)


def warp(image, depth_tgt, K, T):
    b, _, h, w = depth_tgt.shape
    v, u = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)]).to(K).view(1, 3, -1).expand(b, -1, -1)
    points = depth_tgt.view(b, 1, -1) * (torch.inverse(K) @ pixels)
    moved = T[:, :3, :3] @ points + T[:, :3, 3:]
    projected = K @ moved
    xy = (projected[:, :2] / moved[:, 2:].clamp(min=1e-3)).view(b, 2, h, w)
    grid = torch.stack([xy[:, 0] / (w - 1) * 2 - 1, xy[:, 1] / (h - 1) * 2 - 1], -1)
    size = xy.new_tensor([w, h]).view(1, 2, 1, 1)
    inside = ((xy >= -0.01) & (xy <= size - 0.99)).all(1, True)
    warped = F.grid_sample(image, grid, padding_mode="border", align_corners=True)
    z = moved[:, 2:].view(b, 1, h, w)
    return warped, inside & (z > 1e-3), z


def group_loss(image, depth, sources, K):
    """Photometric and geometry term of one image seen through its sources: (image, depth or None, T) each."""
    errors, differences, valids, identities = [], [], [], []
    for source, depth_src, T in sources:
        warped, valid, z = warp(source, depth, K, T)
        errors.append(photometric_error(warped, image))
        identities.append(photometric_error(source, image))
        valids.append(valid)
        if depth_src is not None:
            sampled, _, _ = warp(depth_src, depth, K, T)
            z = z.clamp(min=1e-3)
            differences.append((z - sampled).abs() / (z + sampled))
    error = torch.where(torch.cat(valids, 1), torch.cat(errors, 1), torch.inf)
    smallest, best = error.min(1, True)
    kept = smallest < torch.cat(identities, 1).min(1, True)[0]
    if differences:
        smallest = smallest * (1 - torch.cat(differences, 1).detach().gather(1, best))
    photometric = smallest[kept].mean() if kept.any() else smallest.new_zeros(())
    geometry = (
        sum(d[v].mean() for d, v in zip(differences, valids, strict=True)) / len(differences) if differences else None
    )
    return photometric, geometry


def smoothness(disparity, image):
    d = disparity / (disparity.mean((2, 3), True) + 1e-7)
    x = (d[..., :, :-1] - d[..., :, 1:]).abs() * torch.exp(
        -(image[..., :, :-1] - image[..., :, 1:]).abs().mean(1, True)
    )
    y = (d[..., :-1, :] - d[..., 1:, :]).abs() * torch.exp(
        -(image[..., :-1, :] - image[..., 1:, :]).abs().mean(1, True)
    )
    return x.mean() + y.mean()


def literal_loss(images, disparities, depths, source_depths, K, T):
    """The weighted terms of ssmde_lib.losses.self_supervised_loss with SC-Depth's and Monodepth2's weights."""
    depth_of = source_depths or {"prev": None, "next": None}
    groups = [(images["tgt"], depth, [(images[s], depth_of[s], T[s]) for s in ("prev", "next")]) for depth in depths]
    losses = [group_loss(*group, K) for group in groups]
    smooth = 0
    for scale, disparity in enumerate(disparities):
        image = F.adaptive_avg_pool2d(images["tgt"], disparity.shape[-2:])
        smooth = smooth + smoothness(disparity, image) / 2**scale / len(disparities)
    terms = {"photometric": sum(p for p, _ in losses) / len(losses), "smoothness": 1e-3 * smooth}
    if source_depths:
        terms["geometry"] = 0.1 * sum(g for _, g in losses) / len(losses)
    return terms


class ResNetPose(nn.Module):
    """The common pose network: a ResNet-18 on a concatenated pair and a small head."""

    def __init__(self):
        super().__init__()
        self.encoder = ResNetEncoder(18, 64, images=2)
        self.head = nn.Sequential(
            nn.Conv2d(512, 256, 1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 6, 1),
        )

    def forward(self, a, b):
        return 0.01 * self.head(self.encoder((torch.cat([a, b], 1) - 0.45) / 0.225)[-1]).mean((2, 3))


class LiteralStep:
    """The same interface as benchmarks/step.py's: .step(), .params."""

    def __init__(self, data, loss="base"):
        from ssmde_lib.geometry.motion import rigid

        torch.manual_seed(0)
        self.rigid, self.data, self.full = rigid, data, loss == "full"
        device = data["tgt"].device
        self.depth_net, self.pose_net = DepthNet().to(device), ResNetPose().to(device)
        self.params = [*self.depth_net.parameters(), *self.pose_net.parameters()]
        self.optimizer = torch.optim.Adam(self.params, 1e-4, foreach=False)

    def loss(self):
        images = {k: self.data[k] for k in ("tgt", "prev", "next")}
        K, size = self.data["K"][:, :3, :3], images["tgt"].shape[-2:]
        disparities = self.depth_net(images["tgt"])
        depths = [
            self.depth_net.depth(F.interpolate(d, size, mode="bilinear", align_corners=False)) for d in disparities
        ]
        T = {s: self.rigid(self.pose_net(images["tgt"], images[s])) for s in ("prev", "next")}
        sources = None
        if self.full:
            sources = {s: self.depth_net.depth(self.depth_net(images[s])[0]) for s in ("prev", "next")}
        loss = sum(literal_loss(images, disparities, depths, sources, K, T).values())
        if self.full:
            from ssmde_lib.losses import normal_loss, ranking_loss

            loss = loss + 0.1 * ranking_loss(
                depths[0], self.data["pseudo"], torch.Generator(depths[0].device).manual_seed(0)
            )
            loss = loss + 0.1 * normal_loss(depths[0], self.data["pseudo"], K)
        return loss

    def step(self):
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        self.optimizer.step()
        return loss.detach()
