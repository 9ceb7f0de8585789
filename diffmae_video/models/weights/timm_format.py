"""Writes encoders and image classifiers as timm's VisionTransformer."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffmae_video.files import write_text
from diffmae_video.models.block_kinds import ratio_of
from diffmae_video.models.classifier import Classifier
from diffmae_video.models.encoder import Encoder
from diffmae_video.models.pretrained import CONFIG, WEIGHTS
from diffmae_video.models.weights.exported_tensors import (
    block_obstacle,
    encoder_tensors,
    head_tensors,
    save_tensors,
)
from diffmae_video.models.weights.layouts import MAE

FILE_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


def timm_obstacle(encoder: Encoder) -> str | None:
    """Why timm's format cannot hold an encoder; None if it can."""
    if encoder.positions.kind == "rope":
        return "timm's ViT adds positions to the patches, and this has rotary ones"
    if obstacle := block_obstacle(encoder):
        return obstacle
    if encoder.patch[0] == 1 and encoder.grid[0] == 1:
        return None
    frames = encoder.grid[0] * encoder.patch[0]
    return f"timm's ViT takes images, and this takes clips of {frames} frames"


def timm_weights(encoder: Encoder, classifier: Classifier | None = None) -> dict[str, Tensor]:
    """The state_dict of timm's VisionTransformer; fixed positions become its ``pos_embed``.

    Args:
        encoder: of images; see :func:`timm_obstacle`.
        classifier: the one that the encoder belongs to, if any; its head is included.
    """
    tensors = encoder_tensors(encoder)
    tensors["patch.weight"] = tensors["patch.weight"][:, :, 0]  # [D, 3, 1, p, q] -> [D, 3, p, q]
    positions = encoder.positions(encoder.grid).detach()  # [1, N, D]
    if encoder.cls_token is not None:  # our class token holds its position
        positions = torch.cat([torch.zeros_like(positions[:, :1]), positions], dim=1)
    tensors["positions.joint"] = positions
    weights = {MAE.name(ours): tensor for ours, tensor in tensors.items()}
    return weights | head_tensors(classifier, "head")


def save_timm(encoder: Encoder, classifier: Classifier | None, path: Path) -> None:
    """Writes a bare state_dict if the path ends in one of FILE_SUFFIXES, or else a folder.

    The folder is for ``timm.create_model("local-dir:FOLDER", pretrained=True)`` and for the hub.
    """
    weights = timm_weights(encoder, classifier)
    if path.suffix in FILE_SUFFIXES:
        save_tensors(weights, path)
        return
    save_tensors(weights, path / WEIGHTS)
    write_text(path / CONFIG, json.dumps(_timm_config(encoder, classifier), indent=2) + "\n")


def _timm_config(encoder: Encoder, classifier: Classifier | None) -> dict[str, Any]:
    """timm's config.json, which builds the model."""
    block: Any = encoder.blocks[0]
    (_, h, w), (_, p, q) = encoder.grid, encoder.patch
    pool = "avg" if encoder.cls_token is None else "token"
    classes, final_norm, fc_norm = 0, isinstance(encoder.norm, nn.LayerNorm), False
    names: dict[str, Any] = {}
    preprocessing: dict[str, Any] = {}
    if classifier is not None:
        pool = "avg" if classifier.pool == "mean" else "token"
        classes, final_norm, fc_norm = len(classifier.classes), True, classifier.pool == "mean"
        names = {"label_names": classifier.classes}
        preprocessing = {"mean": list(classifier.mean), "std": list(classifier.std)}
        preprocessing |= {"interpolation": "bilinear", "crop_pct": 1.0, "crop_mode": "center"}
    return {
        "architecture": "vit_base_patch16_224",  # any of timm's ViTs; model_args replace its sizes
        "num_classes": classes,
        **names,
        "num_features": encoder.width,
        "global_pool": pool,
        "model_args": {
            "img_size": [h * p, w * q],
            "patch_size": [p, q],
            "embed_dim": encoder.width,
            "depth": encoder.depth,
            "num_heads": block.attn.num_heads,
            "mlp_ratio": ratio_of("vit", encoder.width, block.mlp.fc1.out_features),
            "class_token": encoder.cls_token is not None,
            "global_pool": pool,
            "fc_norm": fc_norm,  # whether the norm follows the pooling
            "final_norm": final_norm,
        },
        "pretrained_cfg": {
            "input_size": [3, h * p, w * q],
            "fixed_input_size": True,
            "num_classes": classes,
            **preprocessing,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    }
