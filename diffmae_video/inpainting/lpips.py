"""LPIPS, the perceptual distance between fills and the truth."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from diffmae_video.errors import InputError, require
from diffmae_video.models.weights.files import read_checkpoint

ALEXNET = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
SMALLEST = 32  # pixels; AlexNet's last layers have no output for smaller frames


def load_lpips(weights: Path | None, size: Sequence[int]) -> nn.Module:
    """LPIPS (Zhang et al. 2018), version 0.1 on AlexNet, which outputs a map of distances.

    Args:
        weights: torchvision's ImageNet weights of AlexNet; None takes them from torchvision's cache, after
            downloading them if necessary.
        size: (height, width) of the frames to compare.

    Raises:
        InputError: the weights cannot be downloaded or are not AlexNet's, or the frames are too small.
        MissingExtraError: lpips is not installed.
    """
    lpips = require("lpips", "metrics")
    if min(size) < SMALLEST:
        raise InputError(f"LPIPS needs frames of at least {SMALLEST} x {SMALLEST} pixels, got {list(size)}")
    stored = read_checkpoint(weights or _downloaded()).weights
    with warnings.catch_warnings():  # it uses a deprecated argument of torchvision
        warnings.simplefilter("ignore", UserWarning)
        network = lpips.LPIPS(net="alex", spatial=True, pnet_rand=True, verbose=False)
    own = network.net.state_dict()  # slice2.3.weight is AlexNet's features.3.weight
    chosen = {name: stored.get(f"features.{name.partition('.')[2]}") for name in own}
    if any(value is None or value.shape != own[name].shape for name, value in chosen.items()):
        raise InputError(f"{weights or ALEXNET}: not the weights of torchvision's AlexNet; use {ALEXNET}")
    network.net.load_state_dict(chosen)
    return network.eval()


def _downloaded() -> Path:
    path = Path(torch.hub.get_dir(), "checkpoints", ALEXNET.rpartition("/")[2])
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(ALEXNET, str(path), hash_prefix="7be5be79", progress=False)
        except (OSError, RuntimeError) as error:  # RuntimeError: the hash is wrong
            raise InputError(
                f"LPIPS needs AlexNet's ImageNet weights, which cannot be downloaded ({error}): save "
                f"{ALEXNET} as {path}, or give the file with --lpips-weights"
            ) from error
    return path


def lpips_map(network: nn.Module, fill: Tensor, truth: Tensor) -> Tensor:
    """LPIPS at each pixel of each frame: [B, 1, T, H, W].

    The distances of AlexNet's layers are resized to the frame and added, so the mean over a frame is close to
    its LPIPS. A pixel's value also depends on its surroundings.

    Args:
        fill, truth: [B, 3, T, H, W] in [0, 1].
    """
    maps = [
        network(one.transpose(0, 1), other.transpose(0, 1), normalize=True)[:, 0]
        for one, other in zip(fill, truth, strict=True)
    ]
    return torch.stack(maps)[:, None]
