"""Normalised clips, which models take, from decoded pixels, and back."""

from collections.abc import Sequence

import torch
from torch import Tensor


def normalise(clips: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Normalises uint8 [..., T, H, W, 3] to float32 [..., 3, T, H, W], on the tensor's device."""
    scale = 1 / (255 * torch.tensor(std, device=clips.device))
    shift = torch.tensor(mean, device=clips.device) / torch.tensor(std, device=clips.device)
    return (clips.float() * scale - shift).movedim(-1, -4)


def denormalise(clips: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """The inverse of :func:`normalise` up to layout: float [..., 3, T, H, W], pixels in [0, 1], unclamped."""
    shape = (3, 1, 1, 1)
    return clips.float() * torch.tensor(std, device=clips.device).view(shape) + torch.tensor(
        mean, device=clips.device
    ).view(shape)
