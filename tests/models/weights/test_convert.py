"""Weights to timm and transformers and back: the libraries' own models give the same features."""

import json

import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from diffmae_video import InputError, load_encoder, load_model
from diffmae_video.models import Encoder
from diffmae_video.models.weights.convert import save_as, timm_weights
from tests.tiny_models import tiny_diffmae

transformers = pytest.importorskip("transformers")

IMAGE = {"image_size": (32, 32), "num_frames": 1, "patch": (1, 8, 8)}
VIDEO = {"image_size": (32, 32), "num_frames": 4, "patch": (2, 8, 8)}
SMALL = {"width": 48, "depth": 2, "heads": 3, "mlp_ratio": 2.7}


def randomize(model: nn.Module) -> nn.Module:
    """Nothing at its initial zeros and ones, where a mistake would not show."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


@torch.no_grad()
def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("positions", ["sincos", "sharp", "learned", "joint", "sinusoid"])
@pytest.mark.parametrize("class_token", [False, True])
@pytest.mark.parametrize("final_norm", [False, True])
def test_to_timm(tmp_path, positions, class_token, final_norm):
    kwargs = {"class_token": class_token, "final_norm": final_norm, "positions": positions}
    encoder = randomize(Encoder(**IMAGE, **SMALL, **kwargs))
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = encoder(image)

    save_as(encoder, tmp_path / "folder", "timm")
    model = timm.create_model(f"local-dir:{tmp_path / 'folder'}", pretrained=True).eval()
    close(model.forward_features(image)[:, int(class_token) :], expected)
    assert model(image).shape == (2, 48)

    pool = "token" if class_token else "avg"
    model = VisionTransformer(
        32, 8, num_classes=0, embed_dim=48, depth=2, num_heads=3, mlp_ratio=2.7, class_token=class_token,
        global_pool=pool, fc_norm=False, final_norm=final_norm,
    ).eval()  # fmt: skip
    for name in ("w.safetensors", "w.pth"):
        save_as(encoder, tmp_path / name, "timm")
        load = load_file if name == "w.safetensors" else torch.load
        model.load_state_dict(load(tmp_path / name))  # strict
        close(model.forward_features(image)[:, int(class_token) :], expected)

    close(load_encoder(tmp_path / "folder")(image), expected)
    if final_norm:  # a file alone does not say that its model goes without
        close(load_encoder(tmp_path / "w.pth", num_heads=3)(image), expected)


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"init_values": 0.1},
        {"class_token": False, "global_pool": "avg"},
        {"class_token": False, "global_pool": "avg", "fc_norm": False},
        {"no_embed_class": True, "qkv_bias": False},
        {"num_classes": 0, "dynamic_img_size": True},
    ],
    ids=str,
)
def test_from_timm(tmp_path, kwargs):
    model = VisionTransformer(
        32, 8, **{"embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 5, "mlp_ratio": 2, **kwargs}
    )
    randomize(model)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    encoder = load_encoder(tmp_path / "w.pth", num_heads=3)
    image = torch.randn(2, 3, 32, 32)
    close(encoder(image), model.forward_features(image)[:, model.num_prefix_tokens :])
    # our position resampling is timm's
    model.set_input_size(img_size=(48, 24))
    image = torch.randn(2, 3, 48, 24)
    theirs = model.forward_features(image)[:, model.num_prefix_tokens :]
    close(load_encoder(tmp_path / "w.pth", image_size=(48, 24), num_heads=3)(image), theirs)


@pytest.mark.parametrize(
    "kwargs", [{"reg_tokens": 2}, {"qk_norm": True}, {"pre_norm": True}, {"pos_embed": "none"}], ids=str
)
def test_timm_models_of_another_kind_are_refused(tmp_path, kwargs):
    model = VisionTransformer(32, 8, embed_dim=48, depth=2, num_heads=3, norm_layer=nn.LayerNorm, **kwargs)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    message = {
        "reg_tokens": "reg_token",
        "qk_norm": "k_norm",
        "pre_norm": "norm_pre",
        "pos_embed": "pos_embed",
    }
    with pytest.raises(InputError, match=message[next(iter(kwargs))]):
        load_encoder(tmp_path / "w.pth", num_heads=3)


def hf_features(model, clip):
    with torch.no_grad():
        return model.eval()(clip.transpose(1, 2)).last_hidden_state  # HF: [B, T, C, H, W]


@pytest.mark.parametrize("final_norm", [False, True])
@pytest.mark.parametrize("patch", [(2, 8, 8), (1, 8, 16)])
def test_to_hf_videomae(tmp_path, final_norm, patch):
    sizes = {"image_size": (32, 48 if patch[2] == 16 else 32), "num_frames": 4, "patch": patch}
    encoder = randomize(Encoder(**sizes, **SMALL, positions="sinusoid", final_norm=final_norm, eps=1e-3))
    save_as(encoder, tmp_path / "hf", "hf-videomae")
    model, report = transformers.VideoMAEModel.from_pretrained(tmp_path / "hf", output_loading_info=True)
    assert not any(report.values()), report
    clip = torch.randn(2, 3, 4, *sizes["image_size"])
    with torch.no_grad():
        expected = encoder(clip)
    close(hf_features(model, clip), expected)  # encoder's k bias is not zero, and does not matter
    assert set(load_file(tmp_path / "hf/model.safetensors")) == set(model.state_dict())

    again = load_encoder(tmp_path / "hf")
    close(again(clip), expected)
    assert (again.patch, again.grid) == (encoder.patch, encoder.grid)
    assert again.blocks[0].norm1.eps == 1e-3
    # what transformers itself writes, under whichever names
    model.save_pretrained(tmp_path / "theirs")
    close(load_encoder(tmp_path / "theirs")(clip), expected)


@pytest.mark.parametrize(
    "head", ["VideoMAEModel", "VideoMAEForPreTraining", "VideoMAEForVideoClassification"]
)
@pytest.mark.parametrize("pooling", [False, True])
def test_from_hf_videomae(tmp_path, head, pooling):
    config = transformers.VideoMAEConfig(
        image_size=32, patch_size=8, num_frames=4, hidden_size=48, num_hidden_layers=2, num_attention_heads=3,
        intermediate_size=96, decoder_hidden_size=32, decoder_num_hidden_layers=1,
        decoder_intermediate_size=32, decoder_num_attention_heads=2, use_mean_pooling=pooling,
        layer_norm_eps=1e-2,
    )  # fmt: skip
    model = randomize(getattr(transformers, head)(config))
    model.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    clip = torch.randn(2, 3, 4, 32, 32)
    expected = hf_features(getattr(model, "videomae", model), clip)
    close(load_encoder(tmp_path)(clip), expected)
    close(load_encoder(tmp_path / "w.pth", 32, 4, 3, "hf_videomae", eps=1e-2)(clip), expected)
    if not pooling:
        weights = {k: v for k, v in model.state_dict().items() if "layernorm.weight" not in k}
        torch.save(weights, tmp_path / "w.pth")
        with pytest.raises(InputError, match=r"missing (videomae\.)?layernorm.weight"):
            load_encoder(tmp_path / "w.pth", 32, 4, 3)
    config = json.loads((tmp_path / "config.json").read_text()) | {"hidden_act": "relu"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="hidden_act relu; only gelu"):
        load_encoder(tmp_path)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"positions": "sincos"}, "positions are 'sincos', and VideoMAE stores none"),
        ({"positions": "sinusoid", "class_token": True}, "has a class token and VideoMAE has none"),
        ({"positions": "learned", "class_token": True}, "class token .*; its positions are 'learned'"),
    ],
)
def test_hf_videomae_cannot_hold_other_positions_or_a_class_token(tmp_path, kwargs, message):
    with pytest.raises(InputError, match=f"{message}.*convert it to timm or diffmae"):
        save_as(Encoder(**VIDEO, **SMALL, **kwargs), tmp_path / "hf", "hf-videomae")
    assert not (tmp_path / "hf").exists()


def test_to_this_project(tmp_path):
    diffmae = randomize(tiny_diffmae(encoder={"class_token": True, "positions": "sharp", "eps": 1e-3}))
    diffmae.save_pretrained(tmp_path / "diffmae")
    save_as(load_encoder(tmp_path / "diffmae"), tmp_path / "encoder", "diffmae")
    encoder = load_model(tmp_path / "encoder")
    assert isinstance(encoder, Encoder)
    clip = torch.randn(1, 3, 4, 32, 32)
    torch.testing.assert_close(encoder(clip), diffmae.encode(clip), rtol=0, atol=0)


def test_timm_takes_images_only():
    with pytest.raises(
        InputError, match=r"takes an image and this encoder 4 frames; load it .* num_frames=1"
    ):
        timm_weights(Encoder(**VIDEO, **SMALL))


@pytest.mark.parametrize(
    ("path", "to"), [("w.pth", "hf-videomae"), ("w.safetensors", "diffmae"), ("w", "onnx")]
)
def test_a_wrong_target_is_named(tmp_path, path, to):
    with pytest.raises(InputError, match=r"give a folder|unknown format 'onnx'"):
        save_as(Encoder(**VIDEO, **SMALL, positions="sinusoid"), tmp_path / path, to)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("to", ["timm", "hf-videomae"])
def test_a_failed_save_keeps_what_was_there(tmp_path, monkeypatch, to):
    kwargs = IMAGE if to == "timm" else VIDEO
    save_as(Encoder(**kwargs, **SMALL, positions="sinusoid"), tmp_path / "w", to)
    before = (tmp_path / "w/model.safetensors").read_bytes()

    def full_disk(_tensors, path, _metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_as(Encoder(**kwargs, **SMALL, positions="sinusoid"), tmp_path / "w", to)
    assert (tmp_path / "w/model.safetensors").read_bytes() == before
    assert len(list((tmp_path / "w").iterdir())) == 2
