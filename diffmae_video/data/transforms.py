"""From decoded frames to clips: uint8 all the way, one draw of parameters per clip."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def resized_crop(
    frames: np.ndarray, top: int, left: int, height: int, width: int, size: Sequence[int]
) -> Tensor:
    """Crops uint8 frames [T, H, W, 3] and resizes them to ``size`` -> uint8 [T, h, w, 3].

    Bilinear with antialiasing, as torchvision and PIL do it.
    """
    # A permuted view is channels-last: torch has a uint8 kernel for it, and nothing is copied.
    view = torch.from_numpy(frames)[:, top : top + height, left : left + width].permute(0, 3, 1, 2)
    if (height, width) != tuple(size):
        view = F.interpolate(view, size=tuple(size), mode="bilinear", antialias=True)
    return view.permute(0, 2, 3, 1).contiguous()


def random_resized_crop(
    frames: np.ndarray,
    size: Sequence[int],
    generator: torch.Generator,
    scale: Sequence[float] = (0.5, 1.0),
    ratio: Sequence[float] = (3 / 4, 4 / 3),
) -> Tensor:
    """torchvision's ``RandomResizedCrop`` with one draw for all frames: uint8 [T, h, w, 3].

    Args:
        frames: uint8 [T, H, W, 3].
        scale: bounds of the crop's share of the frame's area.
        ratio: bounds of the crop's aspect, drawn uniformly in the logarithm.
    """
    full_height, full_width = frames.shape[1:3]

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
            return resized_crop(frames, top, left, height, width, size)
    return center_crop(frames, size)


def center_crop(frames: np.ndarray, size: Sequence[int]) -> Tensor:
    """The largest central crop of the wanted aspect, resized to ``size``: uint8 [T, h, w, 3]."""
    full_height, full_width = frames.shape[1:3]
    factor = min(full_height / size[0], full_width / size[1])
    height, width = max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
    return resized_crop(frames, (full_height - height) // 2, (full_width - width) // 2, height, width, size)


def normalise(clips: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8 [..., T, H, W, 3] to float32 [..., 3, T, H, W], normalised; on the tensor's device."""
    scale = 1 / (255 * torch.tensor(std, device=clips.device))
    shift = torch.tensor(mean, device=clips.device) / torch.tensor(std, device=clips.device)
    return (clips.float() * scale - shift).movedim(-1, -4)


def denormalise(clips: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """float [..., 3, T, H, W], normalised, to pixels in [0, 1] (not clamped), same shape."""
    shape = (3, 1, 1, 1)
    return clips.float() * torch.tensor(std, device=clips.device).view(shape) + torch.tensor(
        mean, device=clips.device
    ).view(shape)
