"""The pose network: its motion equations, and that it learns a motion which stacked frames alone learn slowly."""

import pytest
import torch
import torch.nn.functional as F

from ssmde_lib.errors import UserError
from ssmde_lib.geometry.camera import pixel_grid
from ssmde_lib.geometry.warp import sample
from ssmde_lib.networks import checkpoint
from ssmde_lib.networks.pose_net import LARGEST, MULTIPLE, PoseNet, coordinate_channels, motion_equations, small


def smooth_texture(height: int, width: int, seed: int) -> torch.Tensor:
    return F.interpolate(
        torch.rand(1, 1, 8, 16, generator=torch.Generator().manual_seed(seed)), (height, width), mode="bicubic"
    )


@pytest.mark.parametrize("motion", [(0.5, 0.0), (-0.3, 0.6), (0.05, -0.02)])
def test_normal_equations_give_the_motion(motion):
    tgt, u = smooth_texture(64, 128, 0), torch.tensor(motion)
    src = sample(tgt, pixel_grid(64, 128, device=tgt.device) - u.view(1, 2, 1, 1))  # what was at x is now at x + u
    xx, xy, yy, xd, yd, _ = motion_equations(tgt, src)[..., 4:-4, 4:-4].mean((0, 2, 3))
    found = torch.linalg.solve(torch.stack([torch.stack([xx, xy]), torch.stack([xy, yy])]), -torch.stack([xd, yd]))
    assert torch.allclose(found, u, atol=0.02 * float(u.norm()))


def test_motion_equations_against_the_definition():
    tgt, src = (torch.rand(1, 1, 9, 11, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))

    def smoothed(x, r, c):
        return x[0, 0, r - 1 : r + 2, c - 1 : c + 2].mean()

    def slopes(r, c):
        def m(r, c):
            return (smoothed(tgt, r, c) + smoothed(src, r, c)) / 2

        return (m(r, c + 1) - m(r, c - 1)) / 2, (m(r + 1, c) - m(r - 1, c)) / 2

    energy = sum(x**2 + y**2 for x, y in (slopes(r, c) for r in range(2, 7) for c in range(3, 8))) / 25 + 2.5e-4
    (x, y), d = slopes(4, 5), smoothed(src, 4, 5) - smoothed(tgt, 4, 5)
    expected = torch.stack(
        [x * x / energy, x * y / energy, y * y / energy, x * d / energy, y * d / energy, d / energy.sqrt()]
    ).clamp(-3, 3)
    assert torch.allclose(motion_equations(tgt, src)[0, :, 4, 5], expected, atol=1e-5)


def test_nothing_moved_nothing_said():
    tgt = smooth_texture(16, 24, 3)
    assert motion_equations(tgt, tgt)[:, 3:].abs().max() == 0


@pytest.mark.parametrize(
    "size, expected", [((64, 192), (64, 192)), ((192, 640), (96, 320)), ((97, 130), (48, 64)), ((4, 500), (8, 496))]
)
def test_small_frames_stay_large_ones_are_halved(size, expected):
    found = tuple(small(torch.rand(1, 2, *size)).shape[-2:])
    assert found == expected
    assert min(found) <= LARGEST and all(side % MULTIPLE == 0 for side in found)


def test_places_are_centred():
    x, y = coordinate_channels(torch.zeros(2, 1, 3, 5))[1]
    assert x[0].tolist() == pytest.approx([-0.8, -0.4, 0, 0.4, 0.8]) and y[:, 0].tolist() == pytest.approx(
        [-0.4, 0, 0.4]
    )


@pytest.mark.parametrize("size", [(64, 192), (192, 640), (97, 130)])
def test_any_size(size):
    net = PoseNet(8).eval()
    assert net(torch.rand(2, 3, *size), torch.rand(2, 3, *size)).shape == (2, 6)


def test_weights_of_another_design_are_refused_in_one_sentence(tmp_path):
    former = PoseNet(8)
    former.features = torch.nn.Conv2d(3, 16, 7)  # as before 2026-11-25
    checkpoint.save(former, tmp_path / "pose.safetensors", {})
    with pytest.raises(
        UserError, match=r"pose\.safetensors holds a PoseNet of another version of this library: run its stage again"
    ):
        checkpoint.load(tmp_path / "pose.safetensors")


def test_learns_to_tell_left_from_right_in_seconds():
    """Windows of textures, moved sideways: supervised, 80 steps; unseen textures then show the right direction."""
    torch.manual_seed(0)
    net = PoseNet(8)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)

    def batch(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        texture = F.interpolate(torch.rand(n, 3, 12, 24), (48, 96), mode="bicubic")
        shift = torch.randint(-8, 9, (n,))
        moved = torch.stack([t.roll(int(s), 2) for t, s in zip(texture, shift, strict=True)])
        return texture, moved, shift / 8

    for _ in range(80):
        tgt, src, shift = batch(16)
        loss = (100 * net(tgt, src)[:, 3] - shift).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tgt, src, shift = batch(64)
    assert torch.corrcoef(torch.stack([net.eval()(tgt, src)[:, 3].detach(), shift]))[0, 1] > 0.8
