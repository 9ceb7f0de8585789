"""Features of clips by pytorchvideo's hub networks (X3D, SlowFast, ...) with weights that the user gives."""

import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffmae_video.errors import InputError, require
from diffmae_video.models.weights.files import read_checkpoint

# X3D-XS, S and M have the same layers and differ only in the size of their clips.
NETWORKS = ("x3d_m", "x3d_l", "slow_r50", "slowfast_r50", "slowfast_r101", "i3d_r50", "c2d_r50", "csn_r101")
SIDE = 224  # frames are resized to SIDE x SIDE pixels, as for I3D in FVD (our choice)
MEAN, STD = 0.45, 0.225  # of the pixels that the hub's networks were trained on
SLOW_STRIDE = 4  # SlowFast's slow pathway sees every fourth frame


class VideoNetwork(nn.Module):
    """A hub network without its classification head.

    The features are the last layer's activations averaged over time and space, of both pathways for SlowFast.

    Args:
        name: one of ``NETWORKS``.
        network: the network that pytorchvideo's hub builds.

    Attributes:
        width: D, the number of features.
    """

    def __init__(self, name: str, network: Any) -> None:
        super().__init__()
        self.is_slowfast = name.startswith("slowfast")
        # The head's pooling, in SlowFast a block of its own, only fits clips of one size.
        self.blocks = network.blocks[: -2 if self.is_slowfast else -1]
        self.eval()
        self.width = self(torch.zeros(1, 3, 2 * SLOW_STRIDE, 32, 32)).shape[1]

    @torch.no_grad()
    def forward(self, clips: Tensor) -> Tensor:
        """Features [B, D] of clips [B, 3, T, H, W] in [0, 1]."""
        x = (clips - MEAN) / STD
        output: Any = x
        if self.is_slowfast:
            frames = x.shape[2]
            slow = torch.linspace(0, frames - 1, -(-frames // SLOW_STRIDE), device=x.device).long()
            output = [x[:, :, slow], x]
        for block in self.blocks:
            output = block(output)
        pathways = output if self.is_slowfast else [output]
        return torch.cat([pathway.mean((2, 3, 4)) for pathway in pathways], dim=1)


def resize_clips(clips: Tensor) -> Tensor:
    """Resizes clips [B, 3, T, H, W] to SIDE x SIDE pixels, bilinearly with antialiasing."""
    frames = F.interpolate(
        clips.transpose(1, 2).flatten(0, 1), size=(SIDE, SIDE), mode="bilinear", antialias=True
    )
    return frames.unflatten(0, (len(clips), -1)).transpose(1, 2)


def load_video_network(path: Path) -> VideoNetwork | None:
    """Loads one of the hub's networks, which is recognised by its layers; None for weights of another kind.

    Args:
        path: a file of weights, bare or under ``model_state``; the number of classes does not matter.

    Raises:
        InputError: the file cannot be read, or holds 3D convolutions of no network in ``NETWORKS``.
        MissingExtraError: pytorchvideo is not installed.
    """
    if not path.is_file():
        return None
    weights = read_checkpoint(path).weights
    if not any(name.startswith("blocks.") and value.ndim == 5 for name, value in weights.items()):
        return None
    with warnings.catch_warnings():  # pytorchvideo imports a deprecated part of torch
        warnings.simplefilter("ignore")
        hub = require("pytorchvideo.models.hub", "metrics")
    for name in NETWORKS:
        with torch.device("meta"):
            expected = _layers(getattr(hub, name)(pretrained=False))
        if all(key in weights and weights[key].shape == shape for key, shape in expected.items()):
            network = getattr(hub, name)(pretrained=False)
            network.load_state_dict({key: weights[key] for key in expected}, strict=False)
            return VideoNetwork(name, network)
    raise InputError(f"{path}: these 3D convolutions belong to none of pytorchvideo's {', '.join(NETWORKS)}")


def _layers(network: Any) -> dict[str, torch.Size]:
    """The shapes of a network's weights, without the head and the counters of its batch norms."""
    head = f"blocks.{len(network.blocks) - 1}."
    return {
        key: value.shape
        for key, value in network.state_dict().items()
        if not key.startswith(head) and not key.endswith("num_batches_tracked")
    }
