"""The pixels that models see: normalised by the mean and standard deviation of each channel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffmae_video.float32_tables import Float32Tables

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class PixelNormalisation(Float32Tables):
    """Normalises decoded pixels by the mean and standard deviation of each channel.

    Args:
        mean, std: of each channel, on pixels in [0, 1].
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.scale: Tensor
        self.shift: Tensor
        deviation = torch.tensor(std)
        self.add_table("scale", 1 / (255 * deviation))
        self.add_table("shift", -torch.tensor(mean) / deviation)

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 patches [..., P], whose values end in the channel, -> float32 [..., P]."""
        repeats = pixels.shape[-1] // len(self.scale)
        # Tables as long as a patch: broadcasting along three channels would be slow on a CPU.
        return torch.addcmul(self.shift.repeat(repeats), pixels, self.scale.repeat(repeats))


def pixel_bounds(mean: Sequence[float], std: Sequence[float], device: torch.device) -> tuple[Tensor, Tensor]:
    """Black and white as normalised pixels: float32 [3] each."""
    low, high = (
        torch.tensor([(level - m) / s for m, s in zip(mean, std, strict=True)], device=device)
        for level in (0.0, 1.0)
    )
    return low, high
