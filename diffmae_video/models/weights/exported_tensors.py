"""What the writers of timm's and Hugging Face's formats share: a model's tensors, and files of them."""

import io
from pathlib import Path

import torch
from torch import Tensor

from diffmae_video.files import atomic_path, write_tensors
from diffmae_video.models.classifier import Classifier
from diffmae_video.models.encoder import Encoder
from diffmae_video.models.weights.fit_size import to_kernel


def block_obstacle(encoder: Encoder) -> str | None:
    """Why formats of plain ViTs cannot hold an encoder's blocks; None if they can."""
    if encoder.block == "vit" and not encoder.qk_norm:
        return None
    special = "MODEL.QK_NORM" if encoder.block == "vit" else f"MODEL.BLOCK {encoder.block}"
    return f"its blocks are ViT's, and these were trained with {special}"


def encoder_tensors(encoder: Encoder) -> dict[str, Tensor]:
    """An encoder's weights without its positions, under our names in layouts.py."""
    tensors = {
        key: value.detach() for key, value in encoder.state_dict().items() if not key.startswith("positions.")
    }
    tensors["patch.weight"] = to_kernel(tensors.pop("patch_embed.weight"), encoder.patch)
    tensors["patch.bias"] = tensors.pop("patch_embed.bias")
    return tensors


def head_tensors(classifier: Classifier | None, head: str) -> dict[str, Tensor]:
    """A classifier's weights beside its encoder, with the format's name of the ``head``; none without one."""
    if classifier is None:
        return {}
    return {
        key.replace("head.", f"{head}."): value.detach()
        for key, value in classifier.state_dict().items()
        if not key.startswith("encoder.")
    }


def save_tensors(weights: dict[str, Tensor], path: Path) -> None:
    """Writes safetensors or, by another suffix of the path, what ``torch.load`` reads."""
    if path.suffix == ".safetensors":
        write_tensors(path, weights)
        return
    # torch.save kills the process if it meets a full disk, so it writes to memory.
    buffer = io.BytesIO()
    torch.save({key: value.cpu().contiguous() for key, value in weights.items()}, buffer)
    with atomic_path(path) as aside:
        aside.write_bytes(buffer.getbuffer())
