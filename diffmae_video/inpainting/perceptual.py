"""Distances between fills and truth by networks: LPIPS, and Fréchet's between the features of a model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffmae_video.data import normalise
from diffmae_video.errors import InputError, require
from diffmae_video.evaluation.features import load_frozen
from diffmae_video.models import Classifier
from diffmae_video.models.weights.files import read_checkpoint

ALEXNET = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
SMALLEST = 32  # pixels: of a smaller frame AlexNet's last layers see nothing


def load_lpips(weights: Path | None, size: Sequence[int]) -> nn.Module:
    """LPIPS (Zhang et al. 2018), version 0.1 on AlexNet, which gives a map of the distance.

    Args:
        weights: torchvision's ImageNet weights of AlexNet; None looks where torchvision keeps them, and
            downloads them if they are not there.
        size: (height, width) of the frames that it will see.

    Raises:
        InputError: the weights are not there and cannot be downloaded, or are not AlexNet's; or frames
            are too small.
        MissingExtraError: lpips is not installed.
    """
    lpips = require("lpips", "metrics")
    if min(size) < SMALLEST:
        raise InputError(f"LPIPS needs frames of {SMALLEST} pixels or more, and these are {list(size)}")
    stored = read_checkpoint(weights or _downloaded()).weights
    with warnings.catch_warnings():  # it calls torchvision as one did years ago
        warnings.simplefilter("ignore", UserWarning)
        network = lpips.LPIPS(net="alex", spatial=True, pnet_rand=True, verbose=False)
    own = network.net.state_dict()  # its slices keep AlexNet's numbers: slice2.3.weight is features.3.weight
    chosen = {name: stored.get(f"features.{name.partition('.')[2]}") for name in own}
    if any(value is None or value.shape != own[name].shape for name, value in chosen.items()):
        raise InputError(f"{weights or ALEXNET}: not the weights of torchvision's AlexNet; take {ALEXNET}")
    network.net.load_state_dict(chosen)
    evaluated: nn.Module = network.eval()
    return evaluated


def _downloaded() -> Path:
    path = Path(torch.hub.get_dir(), "checkpoints", ALEXNET.rpartition("/")[2])
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(ALEXNET, str(path), hash_prefix="7be5be79", progress=False)
        except (OSError, RuntimeError) as error:  # RuntimeError: the hash is not the file's
            raise InputError(
                f"LPIPS needs AlexNet's ImageNet weights, and they cannot be downloaded ({error}): put "
                f"{ALEXNET} at {path}, or give the file with --lpips-weights"
            ) from error
    return path


def lpips_map(network: nn.Module, fill: Tensor, truth: Tensor) -> Tensor:
    """LPIPS at each pixel of each frame -> [B, 1, T, H, W].

    The layers' distances are resized to the frame and added, so that the map's mean over a frame is all
    but its LPIPS; a pixel's value also tells of its surroundings.

    Args:
        fill, truth: [B, 3, T, H, W] in [0, 1].
    """
    maps = [
        network(one.transpose(0, 1), other.transpose(0, 1), normalize=True)[:, 0]
        for one, other in zip(fill, truth, strict=True)
    ]
    return torch.stack(maps)[:, None]


class FeatureModel:
    """A frozen model that turns clips into vectors: the mean over its patch tokens, or of a classifier
    what its head sees.

    Args:
        path: what :func:`~diffmae_video.evaluation.features.load_frozen` takes.
        frames, size: of the clips, (height, width) in pixels; the model is fitted to them.

    Raises:
        InputError: it cannot be read, or does not fit.
    """

    def __init__(self, path: Path, frames: int, size: Sequence[int]) -> None:
        options: list[Any] = ["DATA.NUM_FRAMES", frames, "DATA.SIZE", list(size)]
        self.model, cfg = load_frozen(path, options)
        self.mean, self.std = cfg.DATA.MEAN, cfg.DATA.STD

    @property
    def width(self) -> int:
        """D, the number of features."""
        return (self.model.encoder if isinstance(self.model, Classifier) else self.model).width

    def __call__(self, clip: Tensor) -> Tensor:
        """Clips [B, 3, T, H, W] in [0, 1], rounded to 8 bits, to features [B, D] on the CPU."""
        pixels = (clip * 255).round().to(torch.uint8).movedim(1, -1)
        clip = normalise(pixels, self.mean, self.std)
        model = self.model
        features = model.features(clip) if isinstance(model, Classifier) else model(clip).mean(1)
        return features.float().cpu()


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
