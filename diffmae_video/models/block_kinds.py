"""The kinds of transformer block: ViT's, with layer norm and GELU, and LLaMA's, with RMS norm and SwiGLU."""

from __future__ import annotations

from functools import partial
from typing import Any

from timm.layers import Mlp, SwiGLU
from torch import nn

from diffmae_video.errors import InputError

BLOCKS = ("vit", "swiglu")
GATED_SHARE = 2 / 3  # SwiGLU has three matrices where ViT's MLP has two, so its hidden layer is narrower
MULTIPLE = 8  # of the hidden layer's width, for fast matrix products


def norm_layer(block: str, width: int, eps: float = 1e-6) -> nn.Module:
    """The norm of a kind of block.

    Raises:
        InputError: an unknown kind.
    """
    return norm_class(block, eps)(width)


def norm_class(block: str, eps: float = 1e-6) -> Any:
    """What makes the norm of a kind of block from its width.

    Raises:
        InputError: an unknown kind.
    """
    if block not in BLOCKS:
        raise InputError(f"unknown kind of block {block!r}; choose from {', '.join(BLOCKS)}")
    return partial(nn.LayerNorm if block == "vit" else nn.RMSNorm, eps=eps)


def mlp(block: str, width: int, ratio: float) -> nn.Module:
    """The MLP of a kind of block; both have about as many weights.

    Args:
        ratio: width of the hidden layer over ``width``. SwiGLU (Shazeer 2020) takes two thirds of it.
    """
    if block == "vit":
        return Mlp(width, int(width * ratio))
    return SwiGLU(width, MULTIPLE * max(1, round(GATED_SHARE * width * ratio / MULTIPLE)))


def ratio_of(block: str, width: int, hidden: int) -> float:
    """The ratio for which :func:`mlp` makes a hidden layer of this width, whatever the rounding."""
    if block == "swiglu":
        return hidden / (GATED_SHARE * width)
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else (hidden + 0.5) / width
