"""The Fréchet distance between a network's features of filled clips and of true ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffmae_video.errors import InputError
from diffmae_video.frozen_model import load_frozen
from diffmae_video.inpainting.video_networks import load_video_network, resize_clips
from diffmae_video.runtime.device import default_device


class FeatureModel:
    """A frozen network that turns clips into feature vectors.

    For models of this project, or ones that it can load, features are the mean of the patch tokens, or a
    classifier's input to its head. For pytorchvideo's hub networks they are those of
    :class:`~diffmae_video.inpainting.video_networks.VideoNetwork`, on resized frames.

    Args:
        path: weights of a hub network, or what :func:`~diffmae_video.frozen_model.load_frozen` takes.
        frames, size: of the clips, with size (height, width) in pixels. ViTs are fitted to them.

    Attributes:
        width: D, the number of features.

    Raises:
        InputError: the weights cannot be read, or do not fit.
    """

    def __init__(self, path: Path, frames: int, size: Sequence[int]) -> None:
        self.network = load_video_network(path)
        if self.network is None:
            options: list[Any] = ["DATA.NUM_FRAMES", frames, "DATA.SIZE", list(size)]
            self.frozen = load_frozen(path, options)
            self.width = self.frozen.width
        elif frames == 1:
            raise InputError(f"{path}: a video network has no features of single images")
        else:
            self.network.to(default_device())
            self.width = self.network.width

    def __call__(self, clips: Tensor) -> Tensor:
        """Features [B, D], float32 on the CPU, of clips [B, 3, T, H, W] in [0, 1], rounded to 8 bits."""
        pixels = (clips * 255).round()
        if self.network is None:
            return self.frozen.tokens_and_features(pixels.to(torch.uint8).movedim(1, -1))[1].cpu()
        return self.network(resize_clips(pixels / 255)).cpu()


def check_clips(clips: int, width: int) -> None:
    """Refuses to compute a Fréchet distance from too few clips for a covariance of full rank (our choice).

    Raises:
        InputError: there are no more clips than features.
    """
    if clips <= width:
        raise InputError(
            f"{clips} clips are too few for a Fréchet distance of {width} features: use at least {width + 1} "
            "with --clips, or a network with fewer features"
        )


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Fréchet distance between Gaussians fitted to features [n, D] and [m, D].

    |μa - μb|² + tr(A + B - 2 (A B)^½) in float64, with covariances A and B (FID, Heusel et al. 2017; FVD, if
    the features are I3D's).

    Raises:
        InputError: n or m is not above D.
    """
    for features in (a, b):
        check_clips(*features.shape)
    return distance_of_gaussians(a, b)


def distance_of_gaussians(a: Tensor, b: Tensor) -> float:
    """:func:`frechet_distance` of at least two vectors each, even if their covariances are singular."""
    a, b = a.double(), b.double()
    first, second = (x.T.cov().reshape(x.shape[1], x.shape[1]) for x in (a, b))
    # A B has the eigenvalues of √A B √A, which is symmetric
    values, vectors = torch.linalg.eigh(first)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    overlap = torch.linalg.eigvalsh(root @ second @ root).clamp_min(0).sqrt().sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + first.trace() + second.trace() - 2 * overlap)
