"""What a config.json of Hugging Face, timm or VideoMAE V2 says about an encoder."""

from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from diffmae_video.errors import InputError
from diffmae_video.models.pretrained import CONFIG

# Our name -> the names that projects use. timm nests them in "model_args", VideoMAE V2 in "model_config".
NAMES = {
    "depth": ("num_hidden_layers", "depth"),
    "width": ("hidden_size", "embed_dim", "num_features"),
    "heads": ("num_attention_heads", "num_heads"),
    "mlp_width": ("intermediate_size",),
    "image_size": ("image_size", "img_size"),
    "num_frames": ("num_frames",),
    "eps": ("layer_norm_eps",),
    "final_norm": ("final_norm",),
    "activation": ("hidden_act",),
}


class Architecture(NamedTuple):
    """An encoder as its config.json describes it; None where it says nothing."""

    # depth, width, heads, mlp_width: of the transformer
    depth: int | None = None
    width: int | None = None
    heads: int | None = None
    mlp_width: int | None = None
    image_size: Any = None  # pixels; one number, or (height, width)
    num_frames: int | None = None  # frames of a clip
    eps: float | None = None  # of the layer norms
    final_norm: bool | None = None  # whether a norm of tokens follows the last block
    activation: str | None = None  # of the MLPs


def read_architecture(config: dict[str, Any]) -> Architecture:
    """The architecture in a config.json; an empty one says nothing."""
    said = {**config}
    for section in ("model_args", "model_config"):
        if isinstance(config.get(section), dict):
            said |= config[section]
    found = {
        ours: next((said[name] for name in names if said.get(name) is not None), None)
        for ours, names in NAMES.items()
    }
    if "use_mean_pooling" in said and "model_args" not in config:  # the norm then follows the pooling
        found["final_norm"] = not said["use_mean_pooling"]
    if found["depth"] is None and isinstance(config.get("architecture"), str):
        found |= _timm_architecture(config["architecture"])
    return Architecture(**found)


def _timm_architecture(name: str) -> dict[str, int]:
    """The sizes of one of timm's ViTs, which its config.json knows by name; empty for other models."""
    if not timm.is_model(name):
        return {}
    with torch.device("meta"):
        model = timm.create_model(name)
    if not isinstance(model, VisionTransformer):
        return {}
    block: Any = model.blocks[0]
    return {"depth": len(model.blocks), "width": model.embed_dim, "heads": block.attn.num_heads}


def check_architecture(path: Path, said: Architecture, depth: int, width: int, mlp_width: int) -> None:
    """Compares config.json with the weights beside it.

    Raises:
        InputError: they disagree, or the activation is not supported.
    """
    if said.activation not in (None, "gelu"):
        raise InputError(f"{path}: its {CONFIG} has hidden_act {said.activation}; only gelu is supported")
    found = {"depth": depth, "width": width, "mlp_width": mlp_width}
    problems = [
        f"{name.replace('_', ' ')} {getattr(said, name)}, not {value}"
        for name, value in found.items()
        if getattr(said, name) not in (None, value)
    ]
    if problems:
        raise InputError(
            f"{path}: the weights do not fit the {CONFIG} beside them, which says {'; '.join(problems)}; the "
            "file may be a part of the model, or belong to another one"
        )
