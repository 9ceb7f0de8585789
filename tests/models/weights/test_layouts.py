"""Names of weights: prefixes are told apart, and a name of ours leads to the file's and back."""

import pytest

from diffmae_video.models.weights.layouts import DIFFMAE, HF_VIDEOMAE, LAYOUTS, MAE, VIDEOMAE


@pytest.mark.parametrize(
    ("layout", "prefix", "foreign"),
    [
        (MAE, "", ""),
        (MAE, "encoder.", ""),
        (MAE, "model.encoder.", "model."),
        (MAE, "video_encoder.", "video_encoder."),
        (DIFFMAE, "encoder.encoder.", "encoder."),
        (HF_VIDEOMAE, "videomae.", ""),
        (HF_VIDEOMAE, "model.videomae.", "model."),
        (HF_VIDEOMAE, "encoder.", "encoder."),
    ],
)
def test_a_projects_own_prefix_is_not_foreign(layout, prefix, foreign):
    assert layout.foreign(prefix) == foreign
    patch = layout.stem["patch.weight"][0]
    assert layout.find([f"{prefix}{patch}", f"{prefix}norm.weight"]) == [prefix]


def test_decoders_and_longer_names_are_not_encoders():
    keys = ["decoder.patch_embed.proj.weight", "model.predictor.patch_embed.proj.weight"]
    assert not MAE.find([*keys, "my_patch_embed.proj.weight", "patch_embed.proj.weight_scale"])
    assert MAE.find([*keys, "b.patch_embed.proj.weight", "a.patch_embed.proj.bias"]) == ["a.", "b."]


def test_names_are_the_files():
    assert MAE.name("blocks.3.attn.qkv.weight") == "blocks.3.attn.qkv.weight"
    assert MAE.name("positions.joint") == "pos_embed"
    assert HF_VIDEOMAE.name("blocks.3.mlp.fc1.bias") == "encoder.layer.3.intermediate.dense.bias"
    old = {"encoder.layer.0.attention.attention.q_bias"}
    assert HF_VIDEOMAE.name("blocks.0.attn.q.bias", old) in old
    assert HF_VIDEOMAE.name("blocks.0.attn.q.bias", set()).endswith("query.bias")


@pytest.mark.parametrize("name", LAYOUTS)
def test_no_two_weights_share_a_name(name):
    layout = LAYOUTS[name]
    for names in (layout.stem, layout.block):
        alternatives = [alternative for group in names.values() for alternative in group]
        assert len(set(alternatives)) == len(alternatives)
    assert ("attn.qkv.bias" in layout.block) == (layout not in (VIDEOMAE, HF_VIDEOMAE))
