"""save_as and convert: each model goes to the formats that can hold it, and the others say why not."""

import pytest
import torch

from diffmae_video import InputError, load_encoder, load_model
from diffmae_video.models import Encoder
from diffmae_video.models.weights.convert import FORMATS, formats_for, save_as
from tests.models.weights.random_models import IMAGE, SMALL, VIDEO, classifier, randomize
from tests.tiny_models import tiny_diffmae


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"positions": "sincos"}, "this was trained with sincos"),
        ({"positions": "sinusoid", "class_token": True}, "has no class token, and this has one"),
        ({"positions": "learned", "class_token": True}, "class token.*this was trained with learned"),
        (
            {"positions": "sinusoid", "class_token": True, "pool": "token"},
            "has no class token, and this has one",
        ),
    ],
)
def test_videomae_holds_neither_other_positions_nor_a_class_token(tmp_path, kwargs, message):
    model = classifier(VIDEO, **kwargs)
    choices = {
        "encoder": r"diffmae, onnx, torch-export or timm \(as an encoder of images\)",
        "classifier": "diffmae, onnx or torch-export",
    }
    for part in (model.encoder, model):
        kind = type(part).__name__.lower()
        expected = f"^hf-videomae cannot hold this {kind}: .*{message}; convert it to {choices[kind]}$"
        with pytest.raises(InputError, match=expected):
            save_as(part, tmp_path / "hf", "hf-videomae")
    assert not list(tmp_path.iterdir())


def test_timm_holds_images_only(tmp_path):
    message = "timm cannot hold this {}: timm's ViT takes images, and this takes clips of 4 frames"
    with pytest.raises(
        InputError, match=f"^{message.format('classifier')}; convert it to diffmae, onnx or torch-export$"
    ):
        save_as(classifier(VIDEO), tmp_path / "timm", "timm")
    with pytest.raises(InputError, match=rf"^{message.format('encoder')} \(load it with num_frames=1"):
        save_as(classifier(VIDEO).encoder, tmp_path / "timm", "timm")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("sizes", "kwargs", "refused"),
    [
        (VIDEO, {"positions": "sinusoid"}, {"timm"}),
        (VIDEO, {"positions": "sharp"}, {"timm", "hf-videomae"}),
        (IMAGE, {"positions": "sinusoid"}, set()),
        (IMAGE, {"positions": "sincos", "class_token": True}, {"hf-videomae"}),
    ],
)
def test_formats_for_a_model(sizes, kwargs, refused):
    model = classifier(sizes, **kwargs)
    assert set(FORMATS) - set(formats_for(model)) == refused
    assert formats_for(model.encoder) == formats_for(model)


def test_to_this_project(tmp_path):
    diffmae = randomize(tiny_diffmae(encoder={"class_token": True, "positions": "sharp", "eps": 1e-3}))
    diffmae.save_pretrained(tmp_path / "diffmae")
    save_as(load_encoder(tmp_path / "diffmae"), tmp_path / "encoder", "diffmae")
    encoder = load_model(tmp_path / "encoder")
    assert isinstance(encoder, Encoder)
    clip = torch.randn(1, 3, 4, 32, 32)
    torch.testing.assert_close(encoder(clip), diffmae.encode(clip), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("path", "to"), [("w.pth", "hf-videomae"), ("w.safetensors", "diffmae"), ("w", "tflite")]
)
def test_a_wrong_target_is_named(tmp_path, path, to):
    with pytest.raises(InputError, match=r"give a folder|unknown format 'tflite'"):
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
