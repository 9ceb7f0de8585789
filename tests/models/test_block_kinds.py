"""Blocks with RMS norm and SwiGLU, and normalised queries and keys, in every model that has blocks."""

import pytest
import torch
from torch import nn

from diffmae_video import InputError, Mask, load_encoder, load_model
from diffmae_video.models import DDPM, MAE, Encoder
from diffmae_video.models.block_kinds import mlp, ratio_of
from diffmae_video.models.layers import CrossAttention, SelfAttention
from diffmae_video.models.weights.convert import save_as
from tests.tiny_models import tiny_diffmae

NEW = {"block": "swiglu", "qk_norm": True}
SHAPE = {"width": 32, "depth": 2, "heads": 2}


def models():
    yield from (tiny_diffmae(kind, encoder=NEW, decoder=NEW) for kind in ("cross", "cross_self", "joint"))
    yield MAE((32, 32), 4, (2, 8, 8), SHAPE | NEW, SHAPE | NEW)
    yield DDPM((32, 32), 4, (2, 8, 8), SHAPE | NEW)


def test_every_norm_and_mlp_is_of_the_kind():
    for model in models():
        assert not [m for m in model.modules() if isinstance(m, (nn.LayerNorm, nn.GELU))]
        clip = torch.randn(2, 3, 4, 32, 32)
        model.train()(clip).loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("width", [192, 384, 768])
def test_both_mlps_have_about_as_many_weights(width):
    vit, gated = (sum(p.numel() for p in mlp(block, width, 4.0).parameters()) for block in ("vit", "swiglu"))
    assert gated == pytest.approx(vit, rel=0.03)


@pytest.mark.parametrize("width", [32, 100, 192, 768])
def test_a_hidden_width_gives_its_ratio(width):
    for ratio in (0.5, 2.0, 3.3, 4.0):
        for block in ("vit", "swiglu"):
            hidden = mlp(block, width, ratio).fc2.in_features
            assert mlp(block, width, ratio_of(block, width, hidden)).fc2.in_features == hidden


def test_attention_with_normalised_queries_and_keys_ignores_their_lengths():
    x, context = torch.randn(1, 5, 32), torch.randn(1, 7, 32)
    cross = CrossAttention(32, 32, 2, qk_norm=True)
    itself = SelfAttention(32, 2, qkv_bias=True, qk_norm=True, norm_layer=nn.LayerNorm)
    expected = cross(x, cross.keys_values(context)), itself(x)
    with torch.no_grad():
        cross.q.weight *= 3
        cross.q.bias *= 3
        itself.qkv.weight[:64] *= 3
        itself.qkv.bias[:64] *= 3
    for found, before in zip((cross(x, cross.keys_values(context)), itself(x)), expected, strict=True):
        torch.testing.assert_close(found, before, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("special", [{"block": "swiglu"}, {"qk_norm": True}])
def test_encoders_are_saved_and_fitted_to_other_clips(tmp_path, special):
    model = tiny_diffmae("cross", encoder=special | {"positions": "rope"}, decoder=special)
    model.save_pretrained(tmp_path)
    clip, other = torch.randn(1, 3, 4, 32, 32), torch.randn(1, 3, 2, 48, 48)
    torch.testing.assert_close(load_model(tmp_path).encode(clip), model.encode(clip))
    encoder = load_encoder(tmp_path, image_size=48, num_frames=2)
    torch.testing.assert_close(encoder(other), model.encode(other))
    mask = Mask.random(1, (2, 4, 4), 0.5)
    filled = load_model(tmp_path).inpaint(clip, mask, steps=2).clip
    torch.testing.assert_close(filled, model.inpaint(clip, mask, steps=2).clip)


@pytest.mark.parametrize(
    ("special", "name"), [({"block": "swiglu"}, "MODEL.BLOCK swiglu"), ({"qk_norm": True}, "MODEL.QK_NORM")]
)
def test_formats_of_plain_vits_refuse_other_blocks(tmp_path, special, name):
    for to, encoder in (
        ("timm", Encoder((32, 32), 1, (1, 8, 8), **SHAPE, **special)),
        ("hf-videomae", Encoder((32, 32), 4, (2, 8, 8), **SHAPE, positions="sinusoid", **special)),
    ):
        with pytest.raises(InputError, match=f"its blocks are ViT's, and these were trained with {name}"):
            save_as(encoder, tmp_path / to, to)


def test_an_unknown_kind_is_named():
    with pytest.raises(InputError, match="unknown kind of block 'gpt'; choose from vit, swiglu"):
        tiny_diffmae("cross", encoder={"block": "gpt"})
