"""The parts of fine-tuning against timm, and plain formulas."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from timm.optim import param_groups_layer_decay

from diffmae_video import InputError, load_config
from diffmae_video.build import build_classifier
from diffmae_video.models import Classifier, Encoder
from diffmae_video.training.optimizer import parameter_groups
from tests.repository import ROOT
from tests.tiny_models import tiny_diffmae

OWN = ROOT / "configs/finetune/own_videos.yaml"
TINY = ["MODEL.PATCH", "[2, 8, 8]", "MODEL.ENCODER.WIDTH", 32, "MODEL.ENCODER.DEPTH", 2, "DATA.SIZE", 32,
        "DATA.NUM_FRAMES", 4, "MODEL.ENCODER.HEADS", 2]  # fmt: skip


def test_a_classifiers_groups_are_timms():
    """The same rates and decays, parameter by parameter, as those that timm gives its own ViT."""
    encoder = Encoder((32, 32), 1, (1, 8, 8), 32, depth=3, heads=2, class_token=True, positions="learned")
    model = Classifier.on(encoder, ["a", "b", "c"])
    peer = VisionTransformer(32, 8, embed_dim=32, depth=3, num_heads=2, num_classes=3, global_pool="avg")

    def settings(model, groups):
        names = {id(p): name for name, p in model.named_parameters()}
        return {
            names[id(p)].removeprefix("encoder."): (pytest.approx(g["lr_scale"]), g["weight_decay"])
            for g in groups
            for p in g["params"]
        }

    ours = settings(model, parameter_groups(model, 0.05, layer_decay=0.65))
    theirs = settings(
        peer, param_groups_layer_decay(peer, 0.05, ("pos_embed", "cls_token"), layer_decay=0.65)
    )
    renamed = {"positions.spatial": "pos_embed"}
    renamed |= {f"patch_embed.{part}": f"patch_embed.proj.{part}" for part in ("weight", "bias")}
    assert {renamed.get(name, name): value for name, value in ours.items()} == theirs


def test_a_classifier_starts_from_weights_or_from_nothing(tmp_path):
    scratch = build_classifier(load_config(OWN, TINY), ["a", "b"])
    assert (scratch.encoder.width, scratch.encoder.depth) == (32, 2)
    whole = tiny_diffmae(encoder={"depth": 3, "class_token": True})
    whole.save_pretrained(tmp_path)
    cfg = load_config(OWN, [*TINY, "FINETUNE.INIT", tmp_path, "FINETUNE.FREEZE", 1])
    model = build_classifier(cfg, ["a", "b"])
    assert model.encoder.depth == 3  # of the weights and not of the recipe
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert {"encoder.cls_token", "encoder.patch_embed.weight", "encoder.blocks.0.norm1.bias"} <= frozen
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(value, whole.encoder.state_dict()[name]), name
    with pytest.raises(InputError, match=r"normalised with mean \[0.485.*set DATA.MEAN to that"):
        build_classifier(load_config(OWN, [*TINY, "FINETUNE.INIT", tmp_path, "DATA.MEAN", 0.5]), ["a"])
