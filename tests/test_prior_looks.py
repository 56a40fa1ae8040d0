"""Multi-crop inference: it equals a single pass where crops agree, and no window leaves a seam."""

import pytest
import torch
from torch import nn

from ssmde_lib.networks.leres import IMAGENET_MEAN, IMAGENET_STD
from ssmde_lib.prior.test_time_augmentation import FlipAverage, MultiCrop, SinglePass, feather, nearest_shape, windows

SIZES = [(32, 96), (48, 64)]


class Brightness(nn.Module):
    """A network that reads log-depth off the red channel, up to a constant that every call draws anew."""

    def __init__(self, constant: float = 0.0):
        super().__init__()
        self.constant, self.calls = constant, []

    def forward(self, x):
        self.calls.append(tuple(x.shape[-2:]))
        return x[:, :1] * IMAGENET_STD[0] + IMAGENET_MEAN[0] + self.constant * len(self.calls)


def ramp(height: int = 64, width: int = 192) -> torch.Tensor:
    """A picture whose brightness rises to the right: the same ramp at any resolution."""
    return ((torch.arange(width) + 0.5) / width).expand(1, 3, height, width)


def test_looks_at_a_picture_without_doubt_agree():
    expected = ramp()[:, :1]
    many = MultiCrop(Brightness(), SIZES)(ramp()).log()
    inside = (..., slice(4, -4))  # a resized ramp is flat at its ends, and every window has ends
    assert float((many - expected)[inside].abs().max()) < 0.004
    torch.testing.assert_close(SinglePass(Brightness(), [(64, 192)], torch.exp)(ramp()).log(), expected)


def test_the_whole_in_its_own_and_in_taller_shapes_and_four_windows():
    net = Brightness()
    MultiCrop(net, SIZES)(ramp())
    assert net.calls == [*SIZES, *(4 * [SIZES[0]])]
    net.calls.clear()
    MultiCrop(net, SIZES)(ramp(48, 64))
    assert net.calls == 5 * [SIZES[1]]
    net.calls.clear()
    SinglePass(FlipAverage(net), SIZES, torch.exp)(ramp())
    assert net.calls == 2 * [SIZES[0]]


def test_what_each_look_leaves_open_leaves_no_seam():
    steady, drifting = (MultiCrop(Brightness(constant), SIZES)(ramp()).log() for constant in (0.0, 0.5))
    torch.testing.assert_close(drifting - drifting.mean(), steady - steady.mean(), atol=1e-5, rtol=0)


def test_windows_cover_the_picture_and_weigh_nothing_at_their_borders():
    covered = torch.zeros(1, 1, 50, 70)
    for window in windows(50, 70):
        covered[window] += 1
        assert covered[window].shape[-2:] == (35, 49)
    assert covered.min() == 1 and covered.max() == 4
    weight = feather(20, 40)
    assert weight.max() == 1 and (weight[0] < 0.2).all() and (weight[:, 0] < 0.1).all() and weight[10, 20] == 1
    assert torch.equal(weight, weight.flip(0)) and torch.equal(weight, weight.flip(1))


@pytest.mark.parametrize(
    ("size", "nearest"),
    [((375, 1242), (64, 192)), ((480, 640), (96, 128)), ((96, 160), (96, 128)), ((300, 300), (96, 128))],
)
def test_pictures_are_squashed_as_little_as_possible(size, nearest):
    assert nearest_shape([(64, 192), (96, 128)], size) == nearest
