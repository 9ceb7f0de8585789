"""Weights to timm and back: timm's own models give the same features, logits and classes."""

import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from diffmae_video import InputError, load_encoder
from diffmae_video.models import Encoder
from diffmae_video.models.weights.convert import save_as
from tests.models.weights.random_models import CLASSES, IMAGE, MEAN, SMALL, STD, classifier, close, randomize


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


@torch.no_grad()
@pytest.mark.parametrize(("pool", "class_token"), [("mean", False), ("mean", True), ("token", True)])
@pytest.mark.parametrize("positions", ["sincos", "learned"])
def test_a_classifier_to_timm(tmp_path, pool, class_token, positions):
    model = classifier(IMAGE, pool, class_token=class_token, positions=positions)
    image = torch.randn(2, 3, 32, 32)
    expected = model(image)
    assert expected.std() > 0.1
    save_as(model, tmp_path / "folder", "timm")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'folder'}", pretrained=True).eval()
    torch.testing.assert_close(theirs(image), expected, rtol=1e-5, atol=1e-5)
    assert theirs.pretrained_cfg["label_names"] == CLASSES
    data = timm.data.resolve_model_data_config(theirs)
    assert (data["mean"], data["std"], data["input_size"]) == (list(MEAN), list(STD), (3, 32, 32))

    bare = VisionTransformer(
        32, 8, num_classes=3, embed_dim=48, depth=2, num_heads=3, mlp_ratio=2.7, class_token=class_token,
        global_pool="avg" if pool == "mean" else "token",
    ).eval()  # fmt: skip
    for name, load in (("w.safetensors", load_file), ("w.pth", torch.load)):
        save_as(model, tmp_path / name, "timm")
        bare.load_state_dict(load(tmp_path / name))  # strict
        torch.testing.assert_close(bare(image), expected, rtol=1e-5, atol=1e-5)
