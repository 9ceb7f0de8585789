"""An encoder's weights in the files of timm and of Hugging Face's VideoMAE."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from diffmae_video.errors import InputError, require
from diffmae_video.files import atomic_path, write_text
from diffmae_video.models.encoder import Encoder
from diffmae_video.models.layouts import HF_VIDEOMAE
from diffmae_video.models.pretrained import CONFIG, WEIGHTS
from diffmae_video.models.weights import mlp_ratio, to_kernel

FORMATS = ("diffmae", "timm", "hf-videomae")


def save_encoder(encoder: Encoder, path: str | Path, to: str) -> None:
    """Writes an encoder as one of FORMATS.

    Args:
        path: a folder; for ``timm`` also a file, by its ending: .safetensors, .pth, .pt or .bin.

    Raises:
        InputError: the format cannot hold this encoder, or there is no such format.
        OSError: the folder cannot be written to; files that were there before stay whole.
    """
    path = Path(path)
    file = path.suffix in (".safetensors", ".pth", ".pt", ".bin")
    if to not in FORMATS:
        raise InputError(f"unknown format {to!r}; there are {', '.join(FORMATS)}")
    if to == "timm":
        (save_timm_file if file else save_timm_folder)(encoder, path)
    elif file:
        raise InputError(f"{path}: {to} is a folder of {CONFIG} and {WEIGHTS}; give a folder")
    elif to == "hf-videomae":
        save_hf_videomae(encoder, path)
    else:
        encoder.save_pretrained(path)


def timm_weights(encoder: Encoder) -> dict[str, Tensor]:
    """The state_dict of timm's VisionTransformer; fixed positions become its ``pos_embed``.

    Raises:
        InputError: the encoder takes more than one frame.
    """
    if encoder.patch[0] != 1 or encoder.grid[0] != 1:
        raise InputError(
            f"timm's ViT takes an image and this encoder {encoder.grid[0] * encoder.patch[0]} frames; "
            "load it as an image's, with num_frames=1"
        )
    weights = {
        key: value.detach()
        for key, value in encoder.state_dict().items()
        if not key.startswith(("positions.", "patch_embed."))
    }
    kernel = to_kernel(encoder.patch_embed.weight.detach(), encoder.patch)  # [D, 3, 1, p, q]
    weights["patch_embed.proj.weight"] = kernel[:, :, 0]
    weights["patch_embed.proj.bias"] = encoder.patch_embed.bias.detach()
    positions = encoder.positions(encoder.grid).detach()  # [1, N, D]
    if encoder.cls_token is not None:  # our class token holds its position
        positions = torch.cat([torch.zeros_like(positions[:, :1]), positions], dim=1)
    weights["pos_embed"] = positions
    return weights


def save_timm_file(encoder: Encoder, path: str | Path) -> None:
    """timm's state_dict alone, as safetensors or by ``torch.save``."""
    _save_tensors(timm_weights(encoder), Path(path))


def save_timm_folder(encoder: Encoder, folder: str | Path) -> None:
    """A folder for ``timm.create_model("local-dir:FOLDER", pretrained=True)`` and for the hub."""
    folder = Path(folder)
    weights = timm_weights(encoder)
    block: Any = encoder.blocks[0]
    (_, h, w), (_, p, q) = encoder.grid, encoder.patch
    pool = "avg" if encoder.cls_token is None else "token"
    config = {
        "architecture": "vit_base_patch16_224",  # any ViT of timm's: the arguments below replace its own
        "num_classes": 0,
        "num_features": encoder.width,
        "global_pool": pool,
        "model_args": {
            "img_size": [h * p, w * q],
            "patch_size": [p, q],
            "embed_dim": encoder.width,
            "depth": encoder.depth,
            "num_heads": block.attn.num_heads,
            "mlp_ratio": mlp_ratio(encoder.width, block.mlp.fc1.out_features),
            "class_token": encoder.cls_token is not None,
            "global_pool": pool,
            "fc_norm": False,  # the norm comes before the pooling
            "final_norm": isinstance(encoder.norm, torch.nn.LayerNorm),
        },
        "pretrained_cfg": {
            "input_size": [3, h * p, w * q],
            "fixed_input_size": True,
            "num_classes": 0,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    }
    _save_tensors(weights, folder / WEIGHTS)
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")


def save_hf_videomae(encoder: Encoder, folder: str | Path) -> None:
    """A folder for ``VideoMAEModel.from_pretrained``, with the keys of the transformers installed.

    A k bias is dropped where that version has none, which is exact: it adds the same number to a
    query's scores of all keys, and softmax does not see it. A model without a final norm is one of
    mean pooling there.

    Raises:
        InputError: the encoder has a class token or other positions than VideoMAE's own, neither of
            which that format can hold; or transformers is missing.
    """
    folder = Path(folder)
    reasons = []
    if encoder.cls_token is not None:
        reasons.append("this encoder has a class token and VideoMAE has none")
    if encoder.positions.kind != "sinusoid":
        reasons.append(
            f"its positions are {encoder.positions.kind!r}, and VideoMAE stores none and computes its own "
            "(Encoder(positions='sinusoid'))"
        )
    if reasons:
        raise InputError(
            f"HF VideoMAE cannot hold this encoder: {'; '.join(reasons)}; convert it to timm or diffmae"
        )
    transformers = require("transformers", "export")
    block: Any = encoder.blocks[0]
    (t, h, w), (a, p, q) = encoder.grid, encoder.patch
    config = transformers.VideoMAEConfig(
        image_size=h * p if h * p == w * q else [h * p, w * q],
        patch_size=p if p == q else [p, q],
        num_frames=t * a,
        tubelet_size=a,
        hidden_size=encoder.width,
        num_hidden_layers=encoder.depth,
        num_attention_heads=block.attn.num_heads,
        intermediate_size=block.mlp.fc1.out_features,
        layer_norm_eps=block.norm1.eps,
        qv_bias=True,
        use_mean_pooling=not isinstance(encoder.norm, torch.nn.LayerNorm),
    )
    config.architectures = ["VideoMAEModel"]
    with torch.device("meta"):  # for its names alone
        keys = set(transformers.VideoMAEModel(config).state_dict())
    weights = _hf_weights(encoder, keys)
    if set(weights) != keys:
        raise InputError(
            f"transformers {transformers.__version__} names VideoMAE's weights in a way not known here: "
            f"{', '.join(sorted(set(weights) ^ keys)[:6])}; install another version"
        )
    _save_tensors(weights, folder / WEIGHTS)
    write_text(folder / CONFIG, config.to_json_string())


def _hf_weights(encoder: Encoder, keys: set[str]) -> dict[str, Tensor]:
    """The encoder's weights under VideoMAE's names; of alternatives, those among ``keys``."""
    ours = {key: value.detach() for key, value in encoder.state_dict().items()}
    found: dict[str, Tensor] = {
        "patch.weight": to_kernel(ours.pop("patch_embed.weight"), encoder.patch),
        "patch.bias": ours.pop("patch_embed.bias"),
        **{key: ours[key] for key in ("norm.weight", "norm.bias") if key in ours},
    }
    weights = {HF_VIDEOMAE.stem[name][0]: tensor for name, tensor in found.items()}
    for i in range(encoder.depth):
        start = f"blocks.{i}."
        block = {key.removeprefix(start): value for key, value in ours.items() if key.startswith(start)}
        for part in ("weight", "bias"):
            q, k, v = block.pop(f"attn.qkv.{part}").chunk(3)
            block |= {f"attn.q.{part}": q, f"attn.k.{part}": k, f"attn.v.{part}": v}
        for name, tensor in block.items():
            places = [f"{HF_VIDEOMAE.blocks}.{i}.{alternative}" for alternative in HF_VIDEOMAE.block[name]]
            place = next((place for place in places if place in keys), None)
            if place is not None or name != "attn.k.bias":
                weights[place or places[0]] = tensor
    return weights


def _save_tensors(weights: dict[str, Tensor], path: Path) -> None:
    weights = {key: value.cpu().contiguous() for key, value in weights.items()}
    with atomic_path(path) as aside:
        if path.suffix != ".safetensors":
            torch.save(weights, aside)
            return
        try:
            save_file(weights, aside, {"format": "pt"})
        except SafetensorError as error:  # how it reports a full disk
            raise OSError(f"{path}: cannot be written ({error})") from error
