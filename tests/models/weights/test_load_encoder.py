"""load_encoder against a ViT by the book, whose weights are written down the way each project does."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffmae_video import InputError, load_encoder
from diffmae_video.models import MAE, DiffMAE, Encoder
from tests.models.weights.reference_vit import (
    GRID,
    HEADS,
    LAYOUTS,
    PATCH,
    SIZES,
    D,
    Reference,
    check,
    close,
    hf_weights,
    mae_st_weights,
    mae_weights,
    save,
    videomae_reference,
    videomae_weights,
)
from tests.repository import ROOT
from tests.tiny_models import tiny_diffmae

FIXTURES = sorted((ROOT.parent / "shared/fixtures").glob("*.pt"))


@pytest.mark.skipif(not FIXTURES, reason="no ../shared/fixtures beside the repository")
@pytest.mark.parametrize("file", FIXTURES, ids=lambda file: file.stem)
def test_the_original_code_gives_the_same_tokens(file, tmp_path):
    fixture = torch.load(file, weights_only=True)
    arch = fixture["arch"]
    path = save(tmp_path / "weights.pt", fixture["state_dict"], wrapper=None)
    for given_path in (path, file):  # the fixture itself wraps its weights twice
        encoder = load_encoder(given_path, arch["img_size"], arch.get("num_frames"), arch["num_heads"])
        with torch.no_grad():
            close(encoder(fixture["input"]), fixture["tokens"])


@settings(max_examples=16)
@given(
    cls=st.booleans(),
    separable=st.booleans(),
    biases=st.sampled_from(["", "qv", "qkv"]),
    wrapper=st.sampled_from(["model", "module", "model_state", "state_dict", None]),
    source=st.sampled_from(["auto", "mae_st"]),
)
def test_mae_st(tmp_path_factory, cls, separable, biases, wrapper, source):
    ref = Reference(cls=cls, separable=separable, biases=biases)
    weights = mae_st_weights(ref, separable, biases)
    path = save(tmp_path_factory.mktemp("w") / "w.pth", weights, wrapper)
    encoder = check(path, ref, source=source, **SIZES)
    assert encoder.positions.kind == ("learned" if separable else "joint")
    if separable:  # the tables tell the sizes
        assert load_encoder(path, num_heads=HEADS).grid == (2, GRID, GRID)


@settings(max_examples=12)
@given(
    cls=st.booleans(),
    scale=st.booleans(),
    entry=st.booleans(),
    ending=st.sampled_from(["pth", "safetensors"]),
)
def test_mae_and_timm(tmp_path_factory, cls, scale, entry, ending):
    ref = Reference(t=1, steps=1, cls=cls, scale=scale)
    weights = mae_weights(ref)
    if scale:
        for i, block in enumerate(ref.blocks):
            weights |= {f"blocks.{i}.ls1.gamma": block["scale1"], f"blocks.{i}.ls2.gamma": block["scale2"]}
    if cls and not entry:  # timm's no_embed_class
        weights["pos_embed"], ref.cls_position = ref.table, torch.zeros(1, 1, D).double()
    path = save(tmp_path_factory.mktemp("w") / f"w.{ending}", weights)
    encoder = check(path, ref, torch.randn(2, 3, 32, 32), source="timm")
    assert (encoder.grid, encoder.patch) == ((1, GRID, GRID), (1, PATCH, PATCH))
    check(path, ref, torch.randn(1, 3, 1, 32, 32), source="mae", image_size=(32, 32), num_frames=1)


@pytest.mark.parametrize("scale", [False, True])
def test_videomae(tmp_path, scale, caplog):
    ref = videomae_reference(scale=scale)
    pretrained = videomae_weights(ref, "encoder.", scale)
    pretrained |= {"encoder_to_decoder.weight": torch.randn(8, D), "mask_token": torch.randn(1, 1, 8)}
    pretrained |= {"decoder.blocks.0.norm1.weight": torch.randn(8), "decoder.norm.bias": torch.randn(8)}
    path = save(tmp_path / "pretrained.pth", {f"module.{key}": value for key, value in pretrained.items()})
    encoder = check(path, ref, **SIZES)
    assert encoder.positions.kind == "sinusoid"
    assert caplog.messages == [
        f"{path}: removed the prefix 'module.' of its keys",
        f"{path}: skipped, not part of the encoder: encoder_to_decoder, mask_token, decoder (2 tensors)",
    ]

    ref = videomae_reference(norm=False)
    tuned = videomae_weights(ref) | {"fc_norm.weight": torch.randn(D), "fc_norm.bias": torch.randn(D)}
    tuned |= {"head.weight": torch.randn(5, D), "head.bias": torch.randn(5)}
    encoder = check(save(tmp_path / "tuned.pth", tuned, "module"), ref, source="videomae", **SIZES)
    assert isinstance(encoder.norm, torch.nn.Identity)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("prefix", ["", "videomae."])
def test_hf_videomae(tmp_path, old, norm, prefix):
    ref = videomae_reference(norm=norm, eps=0.1)
    weights = hf_weights(ref, prefix, old)
    weights |= {"fc_norm.weight": torch.randn(D), "classifier.bias": torch.randn(5)}
    check(save(tmp_path / "w.safetensors", weights), ref, source="hf-videomae", eps=0.1, **SIZES)
    config = {"model_type": "videomae", "image_size": 32, "num_frames": 4, "num_attention_heads": HEADS}
    config |= {"layer_norm_eps": 0.1, "use_mean_pooling": not norm}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save(tmp_path / "model.safetensors", weights)
    clip = torch.randn(1, 3, 4, 32, 32)
    close(load_encoder(tmp_path)(clip), ref(clip))
    assert (
        load_encoder(save(tmp_path / "w.pt", weights), num_heads=HEADS, **SIZES).blocks[0].norm1.eps == 1e-12
    )


def tiny_mae():
    kwargs = {"width": 32, "depth": 2, "heads": 2}
    return MAE((32, 32), 4, (2, 8, 8), {**kwargs, "class_token": True}, kwargs).eval()


@pytest.mark.parametrize("kind", ["sincos", "sharp", "learned", "joint", "sinusoid"])
def test_folders_of_this_project(tmp_path, kind, caplog):
    clip = torch.randn(2, 3, 4, 32, 32)
    for model in (tiny_diffmae(encoder={"positions": kind, "eps": 1e-4}), tiny_mae()):
        model.save_pretrained(tmp_path / "model")
        for path in (tmp_path / "model", tmp_path / "model/model.safetensors"):
            encoder = load_encoder(path)
            torch.testing.assert_close(encoder(clip), model.encode(clip), rtol=0, atol=0)
            assert encoder.positions.kind == model.encoder.positions.kind
            assert "skipped, not part of the encoder: decoder (" in caplog.messages[-1]
    encoder.save_pretrained(tmp_path / "encoder")
    torch.testing.assert_close(load_encoder(tmp_path / "encoder")(clip), encoder(clip), rtol=0, atol=0)
    assert load_encoder(tmp_path / "encoder", num_heads=4).blocks[0].attn.num_heads == 4
    with pytest.raises(InputError, match="that of a diffmae model and not of timm"):
        load_encoder(tmp_path / "encoder", source="timm")


@pytest.mark.parametrize("kind", ["sincos", "learned", "joint"])
@pytest.mark.parametrize("patch", [(2, 8, 8), (1, 8, 8)])
def test_bare_weights_of_this_project(tmp_path, kind, patch, caplog):
    model = tiny_diffmae(frames=2 * patch[0], patch=patch, encoder={"positions": kind, "class_token": True})
    path = save(tmp_path / "w.pt", model.state_dict(), "module")
    sizes = {"image_size": 32, "num_frames": 2 * patch[0]}
    encoder = load_encoder(path, num_heads=2, **sizes)
    clip = torch.randn(2, 3, 2 * patch[0], 32, 32)
    torch.testing.assert_close(encoder(clip), model.encode(clip), rtol=1e-6, atol=1e-6)
    assert any("taken to be sincos" in message for message in caplog.messages) == (kind == "sincos")


def test_sizes_that_do_not_divide_are_named(tmp_path):
    path = save(tmp_path / "w.pt", LAYOUTS["mae_st"]())
    for kwargs, message in (
        ({"num_frames": 5}, "num_frames 5 is not a multiple of the patch's 2"),
        ({"image_size": 30}, "height 30 is not a multiple of the patch's 8"),
        ({"image_size": (32, 4)}, "width 4 is not a multiple of the patch's 8"),
        ({"num_heads": 5}, "width 24 does not divide by 5 heads"),
        ({"num_heads": None}, "a width of 24 does not tell the number of heads; give num_heads"),
    ):
        with pytest.raises(InputError, match=message):
            load_encoder(path, **{"num_heads": HEADS, **kwargs})


@pytest.mark.parametrize(("width", "heads"), [(128, 2), (1280, 16)])
def test_heads_are_64_wide_but_for_the_huge_models(tmp_path, width, heads):
    encoder = Encoder((16, 16), 1, (1, 8, 8), width, 1, 1, mlp_ratio=4 / width, positions="learned")
    path = save(tmp_path / "w.pt", encoder.state_dict())
    assert load_encoder(path).blocks[0].attn.num_heads == heads


def test_what_comes_back_trains(tmp_path):
    path = save(tmp_path / "w.pt", LAYOUTS["mae_st"]())
    encoder = load_encoder(path, num_heads=HEADS)
    encoder(torch.randn(1, 3, 4, 32, 32)).square().mean().backward()
    assert all(p.grad is not None for p in encoder.parameters() if p is not encoder.cls_token)
    assert isinstance(tiny_diffmae(), DiffMAE)
