"""Classifiers on each kind of backbone: saved, loaded, their layers and what cannot be."""

import pytest
import torch

from diffmae_video import InputError, load_model
from diffmae_video.models import ADM, DDPM, IGPT, Classifier, load_backbone
from diffmae_video.models.weights import load_encoder
from diffmae_video.models.weights.convert import save_as
from diffmae_video.training.optimizer import parameter_groups

CLASSES = ["run", "jump", "swim"]
UNET = {"width": 32, "multipliers": [1, 2, 2], "resnets": 1, "attention": [8, 4], "head_width": 32}
BUILDS = {
    "ddpm": lambda: DDPM((16, 16), 1, (1, 4, 4), {"width": 32, "depth": 2, "heads": 2}),
    "adm": lambda: ADM((16, 16), 1, (1, 4, 4), UNET),
    "igpt": lambda: IGPT((16, 16), 1, (1, 4, 4), {"width": 32, "depth": 4, "heads": 2, "colours": 16}),
}


def build(kind):
    model = BUILDS[kind]().eval()
    if kind == "igpt":
        model.encoder.set_palette(torch.rand(16, 3) * 255)
    return model


@pytest.mark.parametrize("kind", BUILDS)
def test_a_classifier_stands_on_it_and_comes_back_with_it(tmp_path, kind):
    model, clip = build(kind), torch.randn(2, 3, 1, 16, 16)
    model.save_pretrained(tmp_path / "pretrained")
    backbone = load_backbone(tmp_path / "pretrained", (16, 16), 1)
    torch.testing.assert_close(backbone(clip), model.encode(clip))
    torch.testing.assert_close(backbone(clip[:, :, 0]), backbone(clip))  # an image is a clip of one frame
    classifier = Classifier.on(backbone, CLASSES).eval()
    torch.nn.init.normal_(classifier.head.weight)
    classifier.save_pretrained(tmp_path / "classifier")
    assert torch.equal(load_model(tmp_path / "classifier")(clip), classifier(clip))
    again = load_backbone(tmp_path / "classifier")
    assert type(again) is type(backbone)
    torch.testing.assert_close(again(clip), classifier.encode(clip))
    assert backbone.width == classifier.head.in_features == again(clip).shape[-1]
    if kind != "ddpm":
        with pytest.raises(InputError, match="no other library has a layout"):
            save_as(classifier, tmp_path / "timm", "timm")
        with pytest.raises(InputError, match=r"set FINETUNE.DROP_PATH 0"):
            Classifier.on(backbone, CLASSES, drop_path=0.1)
        with pytest.raises(InputError, match="no class token"):
            Classifier.on(backbone, CLASSES, pool="token")


def test_igpt_is_fine_tuned_on_its_last_layer_and_by_both_losses():
    model, clip = build("igpt"), torch.randn(2, 3, 1, 16, 16)
    classifier = Classifier.on(model.encoder, CLASSES).eval()
    assert (model.encoder.feature_layer, classifier.encoder.feature_layer) == (2, 4)
    logits, loss = classifier(clip, generative=True)
    assert torch.equal(logits, classifier(clip))
    torch.testing.assert_close(loss, model(clip).loss)


@pytest.mark.parametrize(("kind", "depth"), [("adm", 7), ("igpt", 4)])
def test_rates_rise_by_the_depth_of_blocks(kind, depth):
    classifier = Classifier.on(build(kind).encoder, CLASSES)
    names = {id(p): name for name, p in classifier.named_parameters()}
    groups = parameter_groups(classifier, 0.05, layer_decay=0.5)
    scale = {names[id(p)]: group["lr_scale"] for group in groups for p in group["params"]}
    assert scale.keys() == dict(classifier.named_parameters()).keys()
    first, last = 0.5 ** (depth + 1), 1.0
    order = {
        "adm": [
            ("conv_in", 0), ("time_embedding", 0), ("down_blocks.0.resnets.0", 1), ("down_blocks.0.downs", 2),
            ("down_blocks.1.resnets.0", 3), ("down_blocks.1.attentions.0", 3), ("down_blocks.1.downs", 4),
            ("down_blocks.2.resnets.0", 5), ("down_blocks.2.attentions.0", 5), ("mid_block.resnets.0", 6),
            ("mid_block.attentions.0", 6), ("mid_block.resnets.1", 7),
        ],
        "igpt": [("gpt.wte", 0), ("gpt.wpe", 0), *((f"gpt.h.{i}", 1 + i) for i in range(4)),
                 ("gpt.ln_f", 5), ("head", 5)],
    }[kind]  # fmt: skip
    found = set()
    for part, layer in order:
        of_part = {name for name in scale if name.startswith(f"encoder.{part}")}
        assert {scale[name] for name in of_part} == {first * 2**layer}, part
        found |= of_part
    assert {scale[name] for name in scale.keys() - found} == {last}
    assert all(name.startswith(("fc_norm", "head")) for name in scale.keys() - found)
    plain = parameter_groups(classifier, 0.05)
    assert {group["lr_scale"] for group in plain} == {1.0}
    free = {names[id(p)] for group in plain if not group["weight_decay"] for p in group["params"]}
    assert ("encoder.gpt.wpe.weight" in free) == (kind == "igpt")


@pytest.mark.parametrize("kind", ["adm", "igpt"])
def test_freezing_by_blocks(kind):
    classifier = Classifier.on(build(kind).encoder, CLASSES)
    classifier.freeze(2)
    for i, layer in enumerate(classifier.encoder.layers()):
        assert {p.requires_grad for p in layer} == {i > 2}


@pytest.mark.parametrize("kind", BUILDS)
def test_a_folder_of_ours_is_read_once(tmp_path, kind, monkeypatch):
    build(kind).save_pretrained(tmp_path)
    reads, load = [], load_encoder.load_model
    monkeypatch.setattr(load_encoder, "load_model", lambda *a, **k: reads.append(1) or load(*a, **k))
    load_backbone(tmp_path, (16, 16), 1)
    assert len(reads) == 1
