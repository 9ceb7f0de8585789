"""LPIPS, the perceptual distance between fills and the truth."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from diffmae_video.errors import InputError, require
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
