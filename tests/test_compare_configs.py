"""The comparison's recipes: the parameters that go downstream, and the published numbers."""

import pytest
import torch

from diffmae_video import InputError, load_config
from diffmae_video.build import WeightsOnMeta, build_classifier, build_model, meta_model
from diffmae_video.cost.flops import count_macs
from tests.repository import ROOT

COMPARE = ROOT / "configs" / "compare"
# DiffMAE's project page: parameters that go downstream, in millions, and the accuracy after fine-tuning
PUBLISHED = {
    "mae": (304, "85.9"),
    "igpt": (1362, "72.6"),
    "adm": (211, "83.3"),
    "ddpm": (304, "83.4"),
    "diffmae": (304, "85.8"),
}


@pytest.mark.parametrize("objective", PUBLISHED)
def test_what_goes_downstream_has_the_published_size(objective):
    parameters, accuracy = PUBLISHED[objective]
    path = COMPARE / f"imagenet_{objective}.yaml"
    cfg = load_config(path)
    assert objective == cfg.MODEL.OBJECTIVE
    with WeightsOnMeta():
        part = meta_model(cfg).backbone()
    count = sum(p.numel() for p in part.parameters()) / 1e6
    assert count == pytest.approx(parameters, rel=0.03 if objective == "adm" else 0.005)
    assert f"# Result: {accuracy} top-1 after fine-tuning, known: published" in path.read_text()
    assert "not reproduced here" in path.read_text()


def test_igpt_l_has_the_published_size_at_32_pixels():
    model = meta_model(load_config(COMPARE / "imagenet_igpt.yaml", ["DATA.SIZE", 32]))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(1362, abs=1)


@pytest.mark.parametrize("objective", ["adm", "igpt"])
def test_fine_tunings_stated_cost_is_the_counted_one(objective):
    path = COMPARE / f"imagenet_{objective}_finetune.yaml"
    cfg = load_config(path)
    with WeightsOnMeta():
        model = build_classifier(cfg, [str(i) for i in range(1000)]).to("meta").eval()
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    macs = count_macs(model, torch.empty(1, 3, 1, *cfg.DATA.SIZE, device="meta")) / 1e9
    assert f"# Cost: {parameters:.1f} M parameters, {macs:.1f} GFLOPs" in path.read_text()


@pytest.mark.parametrize("objective", PUBLISHED)
def test_small_recipes_make_their_models(objective):
    cfg = load_config(COMPARE / "cifar10" / f"{objective}.yaml")
    assert objective == cfg.MODEL.OBJECTIVE
    side = 16 if objective == "igpt" else 32  # a token a pixel: iGPT too reads small copies
    assert (cfg.DATA.NUM_FRAMES, list(cfg.DATA.SIZE)) == (1, [side, side])
    model = build_model(cfg)
    tuning = f"finetune_{objective}" if objective in ("adm", "igpt") else "finetune"
    classifier = build_classifier(load_config(COMPARE / "cifar10" / f"{tuning}.yaml"), ["a", "b"])
    # from scratch by the fine-tuning recipe is the pre-trained one's network
    if objective in ("adm", "igpt"):
        theirs = {name: p.shape for name, p in model.backbone().named_parameters()}
        assert {name: p.shape for name, p in classifier.encoder.named_parameters()} == theirs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["MODEL.OBJECTIVE", "adm"], "adm is for pictures: set DATA.NUM_FRAMES 1, not 16"),
        (["MODEL.OBJECTIVE", "igpt"], "igpt is for pictures: set DATA.NUM_FRAMES 1, not 16"),
        (["MODEL.OBJECTIVE", "gan"], "unknown objective 'gan'; choose from diffmae, mae, ddpm, adm, igpt"),
        (
            ["MODEL.OBJECTIVE", "adm", "DATA.NUM_FRAMES", 1, "MODEL.ADM.MULTIPLIERS", "1;2"],
            "MODEL.ADM.MULTIPLIERS takes a list of whole numbers, got '1;2'",
        ),
    ],
)
def test_what_makes_no_model_is_one_line(options, message):
    with pytest.raises(InputError, match=message):
        build_model(load_config(None, ["MODEL.PATCH", "[1, 16, 16]", *options]))


def test_igpts_loss_is_for_igpt():
    cfg = load_config(COMPARE / "cifar10" / "finetune.yaml", ["FINETUNE.GENERATIVE", 1])
    with pytest.raises(InputError, match=r"FINETUNE.GENERATIVE: Encoder has no generative loss"):
        build_classifier(cfg, ["a", "b"])
