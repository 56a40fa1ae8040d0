"""A data set on the device that trains: a batch is picked there by its indices, nothing is collated or copied."""

import torch
from torch import Tensor
from torch.utils.data import default_collate

from ssmde_lib.data.triplets import Triplets

SHARE = 0.25  # of the device's free memory


class ResidentTriplets:
    """The frames of `Triplets`, each once, and what else belongs to its items."""

    def __init__(self, triplets: Triplets, device: torch.device):
        lengths = [len(clip) for clip in triplets.clips]
        first = [sum(lengths[:c]) for c in range(len(lengths))]
        frames = [images[i] for images, length in zip(triplets.images, lengths, strict=True) for i in range(length)]
        target = torch.tensor([first[c] + i for c, i in triplets.index], device=device)
        stride = triplets.frame_stride
        self.device, self.frames = device, torch.stack(frames).to(device)  # f 3 h w, uint8
        self.places = {"tgt": target, "prev": target - stride, "next": target + stride}  # n, in `frames`
        rest = [{name: value for name, value in item.items() if name not in self.places} for item in triplets]
        self.rest = {name: value.to(device) for name, value in default_collate(rest).items()}  # n …

    def __getitem__(self, indices: list[int]) -> dict[str, Tensor]:
        """The collated items, as a loader gives them."""
        chosen = torch.tensor(indices, device="cpu").to(self.device, non_blocking=True)
        frames = {name: self.frames[places[chosen]] for name, places in self.places.items()}
        return frames | {name: value[chosen] for name, value in self.rest.items()}


def resident(data: object, device: torch.device) -> ResidentTriplets | None:
    """The data set on a CUDA device, where it is held in memory and takes little of the device's; else None."""
    if device.type != "cuda" or not isinstance(data, Triplets) or not data.held:
        return None
    return ResidentTriplets(data, device) if data.bytes <= SHARE * torch.cuda.mem_get_info(device)[0] else None
