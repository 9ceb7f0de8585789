"""The pixels that models see: normalised by the mean and standard deviation of each channel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def pixel_bounds(mean: Sequence[float], std: Sequence[float], device: torch.device) -> tuple[Tensor, Tensor]:
    """Black and white as normalised pixels: float32 [3] each."""
    low, high = (
        torch.tensor([(level - m) / s for m, s in zip(mean, std, strict=True)], device=device)
        for level in (0.0, 1.0)
    )
    return low, high
