"""The pose network: what its correlation sees, and that it learns a motion which stacked frames alone teach slowly."""

import pytest
import torch
import torch.nn.functional as F

from ssmde_lib.networks.pose_net import RADIUS, PoseNet, correlation, places


def test_correlation_peaks_where_a_feature_went():
    x = torch.randn(2, 8, 12, 16, generator=torch.Generator().manual_seed(0))
    moved = x.roll((1, -3), (2, 3))  # one down, three to the left
    inside = correlation(x, moved).unflatten(1, (2 * RADIUS + 1,) * 2)[:, :, :, RADIUS:-RADIUS, RADIUS:-RADIUS]
    assert torch.allclose(inside[:, RADIUS + 1, RADIUS - 3], torch.ones(()))
    assert (inside.flatten(1, 2).argmax(1) == (RADIUS + 1) * (2 * RADIUS + 1) + RADIUS - 3).all()


def test_correlation_against_the_definition():
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(1, 4, 6, 7, generator=generator) for _ in range(2))
    found = correlation(x, y, radius=2).unflatten(1, (5, 5))
    for dy, dx, row, column in ((0, 0, 3, 3), (-2, 1, 2, 4), (2, 2, 3, 1), (1, -2, 5, 6), (-2, 0, 1, 5)):
        r, c = row + dy, column + dx
        expected = F.cosine_similarity(x[0, :, row, column], y[0, :, r, c], 0) if 0 <= r < 6 and 0 <= c < 7 else torch.zeros(())
        assert found[0, dy + 2, dx + 2, row, column] == pytest.approx(expected.item(), abs=1e-6)


def test_places_are_centred():
    x, y = places(torch.zeros(2, 1, 3, 5))[1]
    assert x[0].tolist() == pytest.approx([-0.8, -0.4, 0, 0.4, 0.8]) and y[:, 0].tolist() == pytest.approx([-0.4, 0, 0.4])


@pytest.mark.parametrize("size", [(64, 192), (192, 640), (97, 130)])
def test_any_size(size):
    net = PoseNet(8).eval()
    assert net(torch.rand(2, 3, *size), torch.rand(2, 3, *size)).shape == (2, 6)


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
