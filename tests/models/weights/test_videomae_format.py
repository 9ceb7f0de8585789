"""Weights to Hugging Face's VideoMAE and back: transformers' own models give the same features and labels."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from diffmae_video import InputError, load_encoder
from diffmae_video.models import Encoder
from diffmae_video.models.weights.convert import save_as
from tests.models.weights.random_models import CLASSES, MEAN, SMALL, STD, VIDEO, classifier, close, randomize

transformers = pytest.importorskip("transformers")


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


@torch.no_grad()
@pytest.mark.parametrize("multi_label", [False, True])
def test_to_hugging_face_and_its_pipeline(tmp_path, multi_label):
    model = classifier(VIDEO, positions="sinusoid", multi_label=multi_label)
    save_as(model, tmp_path / "hf", "hf-videomae")
    theirs, report = transformers.VideoMAEForVideoClassification.from_pretrained(
        tmp_path / "hf", output_loading_info=True
    )
    assert not any(report.values()), report
    clip = torch.randn(2, 3, 4, 32, 32)
    torch.testing.assert_close(theirs(clip.transpose(1, 2)).logits, model(clip), rtol=1e-4, atol=1e-4)
    assert theirs.config.id2label == dict(enumerate(CLASSES))
    assert theirs.config.label2id == {name: i for i, name in enumerate(CLASSES)}

    # From frames to labels, by their own preprocessing: every frame of a clip of four. Frames, not a file,
    # which the pipeline would read with torchcodec.
    frames = (np.random.default_rng(0).random((4, 6, 6, 3)) * 255).astype(np.uint8).repeat(8, 1).repeat(8, 2)
    found = transformers.pipeline("video-classification", str(tmp_path / "hf"))(frames)
    small = torch.nn.functional.interpolate(
        torch.from_numpy(frames).permute(0, 3, 1, 2), size=(32, 32), mode="bilinear", antialias=True
    )
    pixels = (small.float() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    expected = model.probabilities(model(pixels.movedim(0, 1)[None]))[0]
    assert {row["label"]: row["score"] for row in found} == pytest.approx(
        dict(zip(CLASSES, expected.tolist(), strict=True)), abs=2e-3
    )
