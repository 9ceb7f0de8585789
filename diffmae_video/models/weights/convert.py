"""Encoders and classifiers in the files of timm and of Hugging Face's VideoMAE."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffmae_video.errors import InputError, require
from diffmae_video.files import atomic_path, write_tensors, write_text
from diffmae_video.models.classifier import Classifier
from diffmae_video.models.encoder import Encoder
from diffmae_video.models.pretrained import CONFIG, WEIGHTS
from diffmae_video.models.weights.files import read_config
from diffmae_video.models.weights.layouts import HF_VIDEOMAE
from diffmae_video.models.weights.load_encoder import mlp_ratio, to_kernel

FORMATS = ("diffmae", "timm", "hf-videomae")


def save_as(model: Encoder | Classifier, path: str | Path, to: str) -> None:
    """Writes an encoder, or a classifier with its head, as one of FORMATS.

    Args:
        path: a folder; for ``timm`` also a file, by its ending: .safetensors, .pth, .pt or .bin.

    Raises:
        InputError: the format cannot hold this model, or there is no such format.
        OSError: the folder cannot be written to; files that were there before stay whole.
    """
    path = Path(path)
    file = path.suffix in (".safetensors", ".pth", ".pt", ".bin")
    if to not in FORMATS:
        raise InputError(f"unknown format {to!r}; there are {', '.join(FORMATS)}")
    if to == "timm":
        (save_timm_file if file else save_timm_folder)(model, path)
    elif file:
        raise InputError(f"{path}: {to} is a folder of {CONFIG} and {WEIGHTS}; give a folder")
    elif to == "hf-videomae":
        save_hf_videomae(model, path)
    else:
        model.save_pretrained(path)


def is_classifier(path: str | Path) -> bool:
    """Whether a path is the folder of one of our classifiers."""
    return Path(path).is_dir() and read_config(Path(path)).get("model") == Classifier.__name__


def encoder_of(model: Encoder | Classifier) -> Encoder:
    """A classifier's encoder; an encoder is its own."""
    encoder = model if isinstance(model, Encoder) else model.encoder
    if not isinstance(encoder, Encoder):
        raise InputError(
            f"a {type(encoder).__name__} is no ViT: other libraries have no layout for its weights"
        )
    return encoder


def timm_weights(model: Encoder | Classifier) -> dict[str, Tensor]:
    """The state_dict of timm's VisionTransformer; fixed positions become its ``pos_embed``.

    Raises:
        InputError: the model takes more than one frame.
    """
    encoder = encoder_of(model)
    if encoder.patch[0] != 1 or encoder.grid[0] != 1:
        remedy = "load it as an image's, with num_frames=1" if model is encoder else "convert it to onnx"
        raise InputError(
            f"timm's ViT takes an image and this {type(model).__name__.lower()} "
            f"{encoder.grid[0] * encoder.patch[0]} frames; {remedy}"
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
    return weights | _head(model, "head")


def _head(model: Encoder | Classifier, name: str) -> dict[str, Tensor]:
    """What a classifier has beside its encoder; ``name`` is that of the head there."""
    if isinstance(model, Encoder):
        return {}
    own = {key: value.detach() for key, value in model.state_dict().items() if not key.startswith("encoder.")}
    return {key.replace("head.", f"{name}."): value for key, value in own.items()}


def save_timm_file(model: Encoder | Classifier, path: str | Path) -> None:
    """timm's state_dict alone, as safetensors or by ``torch.save``."""
    _save_tensors(timm_weights(model), Path(path))


def save_timm_folder(model: Encoder | Classifier, folder: str | Path) -> None:
    """A folder for ``timm.create_model("local-dir:FOLDER", pretrained=True)`` and for the hub."""
    folder, encoder = Path(folder), encoder_of(model)
    weights = timm_weights(model)
    block: Any = encoder.blocks[0]
    (_, h, w), (_, p, q) = encoder.grid, encoder.patch
    pool = "avg" if encoder.cls_token is None else "token"
    classes, final_norm, fc_norm = 0, isinstance(encoder.norm, torch.nn.LayerNorm), False
    names: dict[str, Any] = {}
    preprocessing: dict[str, Any] = {}
    if isinstance(model, Classifier):
        pool = "avg" if model.pool == "mean" else "token"
        classes, final_norm, fc_norm = len(model.classes), True, model.pool == "mean"
        names = {"label_names": model.classes}
        preprocessing = {"mean": list(model.mean), "std": list(model.std)}
        preprocessing |= {"interpolation": "bilinear", "crop_pct": 1.0, "crop_mode": "center"}
    config = {
        "architecture": "vit_base_patch16_224",  # any ViT of timm's: the arguments below replace its own
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
            "mlp_ratio": mlp_ratio(encoder.width, block.mlp.fc1.out_features),
            "class_token": encoder.cls_token is not None,
            "global_pool": pool,
            "fc_norm": fc_norm,  # whether the norm comes after the pooling
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
    _save_tensors(weights, folder / WEIGHTS)
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")


def save_hf_videomae(model: Encoder | Classifier, folder: str | Path) -> None:
    """A folder for ``VideoMAEModel.from_pretrained``, with the keys of the transformers installed.

    A classifier's is one for ``VideoMAEForVideoClassification``, with its classes, and of square clips
    with preprocessor_config.json. Its last norm has an eps of 1e-5 there, whatever ours has: of a clip
    whose pooled features have a variance of v, logits differ by a share of 4.5e-6 / v.

    A k bias is dropped where that version has none, which is exact: it adds the same number to a
    query's scores of all keys, and softmax does not see it. A model without a final norm is one of
    mean pooling there.

    Raises:
        InputError: the model has a class token or other positions than VideoMAE's own, neither of
            which that format can hold; or transformers is missing.
    """
    folder, encoder = Path(folder), encoder_of(model)
    kind = type(model).__name__.lower()
    reasons = []
    if encoder.cls_token is not None:
        reasons.append(f"this {kind} has a class token and VideoMAE has none")
    if encoder.positions.kind != "sinusoid":
        reasons.append(
            f"its positions are {encoder.positions.kind!r}, and VideoMAE stores none and computes its own "
            "(Encoder(positions='sinusoid'))"
        )
    if reasons:
        others = "timm or diffmae" if model is encoder else "timm, onnx or torch-export"
        raise InputError(f"HF VideoMAE cannot hold this {kind}: {'; '.join(reasons)}; convert it to {others}")
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
    theirs, start = transformers.VideoMAEModel, ""
    if isinstance(model, Classifier):
        theirs, start = transformers.VideoMAEForVideoClassification, "videomae."
        config.id2label = dict(enumerate(model.classes))
        config.label2id = {name: i for i, name in enumerate(model.classes)}
        config.problem_type = "multi_label_classification" if model.multi_label else None
    config.architectures = [theirs.__name__]
    with torch.device("meta"):  # for its names alone
        keys = set(theirs(config).state_dict())
    weights = _hf_weights(encoder, keys, start) | _head(model, "classifier")
    if set(weights) != keys:
        raise InputError(
            f"transformers {transformers.__version__} names VideoMAE's weights in a way not known here: "
            f"{', '.join(sorted(set(weights) ^ keys)[:6])}; install another version"
        )
    _save_tensors(weights, folder / WEIGHTS)
    write_text(folder / CONFIG, config.to_json_string())
    if isinstance(model, Classifier) and h * p == w * q:  # of others it would change the proportions
        preprocessor = {
            "image_processor_type": "VideoMAEImageProcessor",
            "video_processor_type": "VideoMAEVideoProcessor",
            "size": {"shortest_edge": h * p},
            "crop_size": {"height": h * p, "width": w * q},
            "image_mean": list(model.mean),
            "image_std": list(model.std),
        }
        write_text(folder / "preprocessor_config.json", json.dumps(preprocessor, indent=2) + "\n")


def _hf_weights(encoder: Encoder, keys: set[str], prefix: str) -> dict[str, Tensor]:
    """The encoder's weights under VideoMAE's names; of alternatives, those among ``keys``."""
    ours = {key: value.detach() for key, value in encoder.state_dict().items()}
    found: dict[str, Tensor] = {
        "patch.weight": to_kernel(ours.pop("patch_embed.weight"), encoder.patch),
        "patch.bias": ours.pop("patch_embed.bias"),
        **{key: ours[key] for key in ("norm.weight", "norm.bias") if key in ours},
    }
    weights = {prefix + HF_VIDEOMAE.stem[name][0]: tensor for name, tensor in found.items()}
    for i in range(encoder.depth):
        start = f"blocks.{i}."
        block = {key.removeprefix(start): value for key, value in ours.items() if key.startswith(start)}
        for part in ("weight", "bias"):
            q, k, v = block.pop(f"attn.qkv.{part}").chunk(3)
            block |= {f"attn.q.{part}": q, f"attn.k.{part}": k, f"attn.v.{part}": v}
        for name, tensor in block.items():
            places = [f"{prefix}{HF_VIDEOMAE.blocks}.{i}.{there}" for there in HF_VIDEOMAE.block[name]]
            place = next((place for place in places if place in keys), None)
            if place is not None or name != "attn.k.bias":
                weights[place or places[0]] = tensor
    return weights


def _save_tensors(weights: dict[str, Tensor], path: Path) -> None:
    if path.suffix == ".safetensors":
        write_tensors(path, weights)
        return
    # torch.save kills the process if it meets a full disk, so it writes to memory.
    buffer = io.BytesIO()
    torch.save({key: value.cpu().contiguous() for key, value in weights.items()}, buffer)
    with atomic_path(path) as aside:
        aside.write_bytes(buffer.getbuffer())
