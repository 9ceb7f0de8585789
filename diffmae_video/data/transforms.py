"""Crops and resizes decoded frames, with one set of parameters per clip."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


class Crop(NamedTuple):
    """A rectangle of a frame, in pixels."""

    top: int
    left: int
    height: int
    width: int


def resized_crop(frames: np.ndarray | Tensor, crop: Crop, size: Sequence[int]) -> Tensor:
    """Crops uint8 frames [T, H, W, 3] and resizes them to ``size`` -> uint8 [T, h, w, 3].

    Bilinear with antialiasing, like torchvision and PIL. Runs on the frames' device.
    """
    frames = torch.as_tensor(frames)
    # A permuted view is channels-last, for which torch has a uint8 kernel, and it copies nothing.
    view = frames[:, crop.top : crop.top + crop.height, crop.left : crop.left + crop.width].permute(
        0, 3, 1, 2
    )
    if view.shape[2:] != tuple(size):
        if view.is_cuda:  # CUDA resizes floats only
            view = F.interpolate(view.float(), size=tuple(size), mode="bilinear", antialias=True)
            view = view.round_().clamp_(0, 255).to(torch.uint8)
        else:
            view = F.interpolate(view, size=tuple(size), mode="bilinear", antialias=True)
    return view.permute(0, 2, 3, 1).contiguous()


def draw_crop(
    frame: tuple[int, int],
    size: Sequence[int],
    generator: torch.Generator,
    scale: Sequence[float],
    ratio: Sequence[float] = (3 / 4, 4 / 3),
) -> Crop:
    """Draws the crop of torchvision's ``RandomResizedCrop``, to be shared by all frames of a clip.

    Args:
        frame: (height, width) in pixels.
        size: (height, width) to which the crop will be resized, in pixels.
        scale: (least, greatest) share of the frame's area.
        ratio: (least, greatest) aspect ratio relative to that of ``size``, uniform in the logarithm.
    """
    full_height, full_width = frame

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    for _ in range(10):
        area = full_height * full_width * uniform(*scale)
        aspect = math.exp(uniform(math.log(ratio[0]), math.log(ratio[1]))) * size[1] / size[0]
        height, width = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < height <= full_height and 0 < width <= full_width:
            top, left = (
                int(uniform(0, a - b + 1 - 1e-6)) for a, b in ((full_height, height), (full_width, width))
            )
            return Crop(top, left, height, width)
    return largest_crops(frame, size, 1)[0]


def largest_crops(frame: tuple[int, int], size: Sequence[int], count: int) -> list[Crop]:
    """The largest crops with the aspect ratio of ``size``, evenly spaced along the longer side.

    One crop is the centre; three are left, centre and right, or top, centre and bottom.
    """
    factor = min(frame[0] / size[0], frame[1] / size[1])
    height, width = max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
    offsets = [i / (count - 1) for i in range(count)] if count > 1 else [0.5]
    return [
        Crop(int((frame[0] - height) * at), int((frame[1] - width) * at), height, width) for at in offsets
    ]


def random_resized_crop(
    frames: np.ndarray, size: Sequence[int], generator: torch.Generator, scale: Sequence[float]
) -> Tensor:
    """Draws a crop and resizes it: uint8 [T, H, W, 3] -> uint8 [T, h, w, 3]; see :func:`draw_crop`."""
    crop = draw_crop((frames.shape[1], frames.shape[2]), size, generator, scale)
    return resized_crop(frames, crop, size)


def center_crop(frames: np.ndarray, size: Sequence[int]) -> Tensor:
    """The largest central crop with the aspect ratio of ``size``, resized to it: uint8 [T, h, w, 3]."""
    return spatial_crops(frames, size, 1)[0]


def spatial_crops(frames: np.ndarray, size: Sequence[int], count: int) -> Tensor:
    """Resized :func:`largest_crops`: uint8 [T, H, W, 3] -> uint8 [count, T, h, w, 3]."""
    crops = largest_crops((frames.shape[1], frames.shape[2]), size, count)
    return torch.stack([resized_crop(frames, crop, size) for crop in crops])
