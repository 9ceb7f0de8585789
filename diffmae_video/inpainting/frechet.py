"""The Fréchet distance between a network's features of filled and of true clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffmae_video.errors import InputError
from diffmae_video.frozen_model import load_frozen


class FeatureModel:
    """A frozen model that turns clips into vectors: the mean over its patch tokens, or of a classifier
    what its head sees.

    Args:
        path: what :func:`~diffmae_video.frozen_model.load_frozen` takes.
        frames, size: of the clips, (height, width) in pixels; the model is fitted to them.

    Raises:
        InputError: it cannot be read, or does not fit.
    """

    def __init__(self, path: Path, frames: int, size: Sequence[int]) -> None:
        options: list[Any] = ["DATA.NUM_FRAMES", frames, "DATA.SIZE", list(size)]
        self.frozen = load_frozen(path, options)

    @property
    def width(self) -> int:
        """D, the number of features."""
        return self.frozen.width

    def __call__(self, clip: Tensor) -> Tensor:
        """Clips [B, 3, T, H, W] in [0, 1], rounded to 8 bits, to features [B, D] on the CPU."""
        pixels = (clip * 255).round().to(torch.uint8).movedim(1, -1)
        return self.frozen.tokens_and_features(pixels)[1].cpu()


def check_clips(clips: int, width: int) -> None:
    """Refuses a Fréchet distance of fewer clips than have a covariance of full rank (our choice).

    Raises:
        InputError: there are too few.
    """
    if clips <= width:
        raise InputError(
            f"{clips} clips are too few for a Fréchet distance of {width} features: take {width + 1} or more "
            "with --clips, or a narrower model"
        )


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Fréchet distance between Gaussians of features [n, D] and [m, D] (FID; on I3D's features FVD).

    |μa - μb|² + tr(A + B - 2 (A B)^½), in float64.

    Raises:
        InputError: n or m is D or less.
    """
    for features in (a, b):
        check_clips(*features.shape)
    a, b = a.double(), b.double()
    first, second = a.T.cov(), b.T.cov()
    # A B has the eigenvalues of √A B √A, which is symmetric
    values, vectors = torch.linalg.eigh(first)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    overlap = torch.linalg.eigvalsh(root @ second @ root).clamp_min(0).sqrt().sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + first.trace() + second.trace() - 2 * overlap)
