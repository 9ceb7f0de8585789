"""Writes encoders and classifiers as Hugging Face's VideoMAE."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffmae_video.errors import InputError, require
from diffmae_video.files import write_text
from diffmae_video.models.classifier import Classifier
from diffmae_video.models.encoder import Encoder
from diffmae_video.models.pretrained import CONFIG, WEIGHTS
from diffmae_video.models.weights.exported_tensors import (
    block_obstacle,
    encoder_tensors,
    head_tensors,
    save_tensors,
)
from diffmae_video.models.weights.layouts import HF_VIDEOMAE


def videomae_obstacle(encoder: Encoder) -> str | None:
    """Why Hugging Face's VideoMAE cannot hold an encoder; None if it can."""
    reasons = []
    if encoder.cls_token is not None:
        reasons.append("VideoMAE has no class token, and this has one")
    if encoder.positions.kind != "sinusoid":
        reasons.append(
            f"VideoMAE computes positions of its own, MODEL.ENCODER.POSITIONS sinusoid, and this was trained "
            f"with {encoder.positions.kind}"
        )
    if obstacle := block_obstacle(encoder):
        reasons.append(obstacle)
    return "; ".join(reasons) or None


def save_videomae(encoder: Encoder, classifier: Classifier | None, folder: Path) -> None:
    """Writes a folder for ``VideoMAEModel.from_pretrained``, with the keys of the installed transformers.

    A classifier's folder is for ``VideoMAEForVideoClassification``. It has the classes and, if clips are
    square, preprocessor_config.json. The last norm has an eps of 1e-5 there, whatever ours has: if the pooled
    features of a clip have a variance of v, the logits differ by a fraction of 4.5e-6 / v.

    The bias of k is left out if that version has none. This is exact: it adds the same number to a query's
    scores of all keys, which the softmax ignores. A model without a final norm becomes one of mean pooling.

    Args:
        encoder: one without a :func:`videomae_obstacle`.
        classifier: the one that the encoder belongs to, if any.

    Raises:
        MissingExtraError: transformers is not installed.
        InputError: the installed version of transformers names the weights in an unknown way.
    """
    transformers = require("transformers", "export")
    block: Any = encoder.blocks[0]
    (t, h, w), (a, p, q) = encoder.grid, encoder.patch
    is_square = h * p == w * q
    config = transformers.VideoMAEConfig(
        image_size=h * p if is_square else [h * p, w * q],
        patch_size=p if p == q else [p, q],
        num_frames=t * a,
        tubelet_size=a,
        hidden_size=encoder.width,
        num_hidden_layers=encoder.depth,
        num_attention_heads=block.attn.num_heads,
        intermediate_size=block.mlp.fc1.out_features,
        layer_norm_eps=block.norm1.eps,
        qv_bias=True,
        use_mean_pooling=not isinstance(encoder.norm, nn.LayerNorm),
    )
    theirs, prefix = transformers.VideoMAEModel, ""
    if classifier is not None:
        theirs, prefix = transformers.VideoMAEForVideoClassification, "videomae."
        config.id2label = dict(enumerate(classifier.classes))
        config.label2id = {name: i for i, name in enumerate(classifier.classes)}
        config.problem_type = "multi_label_classification" if classifier.multi_label else None
    config.architectures = [theirs.__name__]
    with torch.device("meta"):  # only its keys are needed
        keys = set(theirs(config).state_dict())
    own_keys = {key.removeprefix(prefix) for key in keys}
    weights = {prefix + key: tensor for key, tensor in _videomae_weights(encoder, own_keys).items()}
    weights |= head_tensors(classifier, "classifier")
    if set(weights) != keys:
        raise InputError(
            f"transformers {transformers.__version__} names VideoMAE's weights in an unknown way: "
            f"{', '.join(sorted(set(weights) ^ keys)[:6])}; install another version"
        )
    save_tensors(weights, folder / WEIGHTS)
    write_text(folder / CONFIG, config.to_json_string())
    if classifier is not None and is_square:  # it would change the proportions of other clips
        preprocessor = {
            "image_processor_type": "VideoMAEImageProcessor",
            "video_processor_type": "VideoMAEVideoProcessor",
            "size": {"shortest_edge": h * p},
            "crop_size": {"height": h * p, "width": w * q},
            "image_mean": list(classifier.mean),
            "image_std": list(classifier.std),
        }
        write_text(folder / "preprocessor_config.json", json.dumps(preprocessor, indent=2) + "\n")


def _videomae_weights(encoder: Encoder, keys: set[str]) -> dict[str, Tensor]:
    """The encoder's weights under VideoMAE's names, those among ``keys`` where there are alternatives."""
    tensors: dict[str, Tensor] = {}
    for ours, tensor in encoder_tensors(encoder).items():
        if ".attn.qkv." in ours:
            parts = zip("qkv", tensor.chunk(3), strict=True)
            tensors |= {ours.replace(".qkv.", f".{name}."): part for name, part in parts}
        else:
            tensors[ours] = tensor
    weights = {}
    for ours, tensor in tensors.items():
        key = HF_VIDEOMAE.name(ours, keys)
        if key in keys or not ours.endswith("attn.k.bias"):
            weights[key] = tensor
    return weights
