"""config.json of other projects: what it says, and that it must fit the weights beside it."""

import json

import pytest
import torch

from diffmae_video import InputError, load_encoder
from diffmae_video.models.weights.architecture import Architecture, read_architecture
from tests.models.weights.reference_vit import (
    DEPTH,
    HEADS,
    HIDDEN,
    D,
    Reference,
    check,
    hf_weights,
    mae_weights,
    save,
    videomae_reference,
    videomae_weights,
)

HUGGING_FACE = {
    "model_type": "videomae", "num_hidden_layers": DEPTH, "hidden_size": D, "num_attention_heads": HEADS,
    "intermediate_size": HIDDEN, "image_size": 32, "num_frames": 4, "layer_norm_eps": 1e-6,
    "hidden_act": "gelu", "use_mean_pooling": False, "decoder_num_hidden_layers": 4,
    "decoder_hidden_size": 384,
}  # fmt: skip
VIDEOMAE_V2 = {
    "model_type": "VideoMAEv2_Base",
    "model_config": {
        "img_size": 32, "patch_size": 8, "embed_dim": D, "depth": DEPTH, "num_heads": HEADS, "num_frames": 4,
        "tubelet_size": 2, "use_mean_pooling": True,
    },
}  # fmt: skip
TIMM = {
    "architecture": "vit_base_patch16_224",
    "num_features": D,
    "model_args": {"img_size": 32, "embed_dim": D, "depth": DEPTH, "num_heads": HEADS, "final_norm": True},
}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, Architecture()),
        (HUGGING_FACE, Architecture(DEPTH, D, HEADS, HIDDEN, 32, 4, 1e-6, True, "gelu")),
        (VIDEOMAE_V2, Architecture(DEPTH, D, HEADS, None, 32, 4, None, False, None)),
        (TIMM, Architecture(DEPTH, D, HEADS, None, 32, None, None, True, None)),
        ({"architecture": "vit_small_patch16_224", "num_features": 384}, Architecture(12, 384, 6)),
        ({"architecture": "resnet18", "num_features": 512}, Architecture(width=512)),
        ({"architecture": "unheard_of"}, Architecture()),
    ],
)
def test_each_project_says_it_in_its_own_words(config, expected):
    assert read_architecture(config) == expected


def folder(path, weights, config):
    path.mkdir(exist_ok=True)
    save(path / "model.safetensors", weights)
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_videomae_v2_is_read_by_its_own_config(tmp_path):
    ref = videomae_reference(norm=False)
    weights = videomae_weights(ref, "model.") | {"model.fc_norm.weight": torch.randn(D)}
    path = folder(tmp_path / "w", weights, VIDEOMAE_V2)
    assert load_encoder(path).blocks[0].attn.num_heads == HEADS
    assert load_encoder(path).grid == (2, 4, 4)
    check(path, ref)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("num_hidden_layers", DEPTH + 1, f"depth {DEPTH + 1}, not {DEPTH}"),
        ("hidden_size", 2 * D, f"width {2 * D}, not {D}"),
        ("intermediate_size", 96, f"mlp width 96, not {HIDDEN}"),
        ("hidden_act", "relu", "hidden_act relu; only gelu"),
    ],
)
def test_weights_that_do_not_fit_their_config_are_refused(tmp_path, key, value, message):
    weights = hf_weights(videomae_reference())
    for name in ("model.safetensors", "pytorch_model.bin"):
        path = folder(tmp_path / name, weights, HUGGING_FACE)
        (path / "model.safetensors").unlink()
        save(path / name, weights)
        load_encoder(path)
        (path / "config.json").write_text(json.dumps(HUGGING_FACE | {key: value}))
        for given in (path, path / name):
            with pytest.raises(InputError, match=message):
                load_encoder(given)


def test_a_timm_model_is_known_by_name(tmp_path):
    weights = mae_weights(Reference(t=1, steps=1))
    path = folder(tmp_path / "w", weights, {"architecture": "vit_small_patch16_224", "num_classes": 0})
    with pytest.raises(InputError, match=f"says depth 12, not {DEPTH}; width 384, not {D}"):
        load_encoder(path)
    path = folder(tmp_path / "w", weights, TIMM)
    assert load_encoder(path).blocks[0].attn.num_heads == HEADS
