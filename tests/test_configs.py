"""The recipes: each loads, makes its model, and states what it costs."""

import math
import re
from pathlib import Path

import pytest
import torch

from diffmae_video import load_config
from diffmae_video.build import WeightsOnMeta, build_classifier, meta_model
from diffmae_video.config import default_config
from diffmae_video.cost.flops import count_macs, training_cost
from tests.repository import ROOT

CONFIGS = ROOT / "configs"
RECIPES = sorted(
    path
    for folder in ("imagenet", "k400", "ablation")
    for path in (CONFIGS / folder).glob("*.yaml")
    if not path.name.startswith("finetune")
)
FINETUNING = sorted(CONFIGS.glob("*/finetune_vit_*.yaml"))
COST = re.compile(
    r"^# Cost: ([\d.]+) M parameters, ([\d.]+) GFLOPs \(multiply-accumulates\) per clip forward$", re.M
)

VIEW_COST = re.compile(
    r"^# Cost: ([\d.]+) M parameters, ([\d.]+) GFLOPs \(multiply-accumulates\) per view forward$", re.M
)


def name(path: Path) -> str:
    return path.relative_to(CONFIGS).with_suffix("").as_posix()


def options(cfg, prefix=""):
    """All options of a config, flat."""
    flat = {}
    for key, value in cfg.items():
        flat.update(options(value, f"{prefix}{key}.") if hasattr(value, "items") else {prefix + key: value})
    return flat


def test_every_recipe_is_there():
    wanted = {
        f"{data}/{kind}_vit_{size}"
        for data in ("imagenet", "k400")
        for kind in ("pretrain", "mae")
        for size in "blh"
    }
    assert wanted <= {name(path) for path in RECIPES}


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=name)
def test_it_loads(path):
    assert set(options(load_config(path))) == set(options(default_config()))


@pytest.mark.parametrize("path", RECIPES + FINETUNING, ids=name)
def test_its_first_lines_state_source_cost_and_result(path):
    header = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        header.append(line)
    fields = [line.split(":")[0] for line in header if re.match(r"# (Source|Cost|Result):", line)]
    assert fields == ["# Source", "# Cost", "# Result"]
    assert COST.search("\n".join(header)) or VIEW_COST.search("\n".join(header))
    assert re.search(r"known|expected", "\n".join(header).split("# Result:")[1])


@pytest.mark.parametrize(
    "path", [path for path in sorted(CONFIGS.rglob("*.yaml")) if COST.search(path.read_text())], ids=name
)
def test_its_stated_cost_is_the_counted_one(path):
    found = COST.search(path.read_text())
    cost = training_cost(meta_model(load_config(path)))
    assert float(found[1]) == pytest.approx(cost.parameters / 1e6, rel=0.01)
    assert float(found[2]) == pytest.approx(cost.macs / 1e9, rel=0.01)


@pytest.mark.parametrize("path", FINETUNING, ids=name)
def test_a_views_stated_cost_is_the_counted_one(path):
    found = VIEW_COST.search(path.read_text())
    cfg = load_config(path)
    classes = [str(i) for i in range(1000 if cfg.DATA.NUM_FRAMES == 1 else 400)]
    with WeightsOnMeta():
        model = build_classifier(cfg, classes).to("meta")
    clip = torch.empty(1, 3, cfg.DATA.NUM_FRAMES, *cfg.DATA.SIZE, device="meta")
    assert float(found[1]) == pytest.approx(sum(p.numel() for p in model.parameters()) / 1e6, rel=1e-3)
    assert float(found[2]) == pytest.approx(count_macs(model.eval(), clip) / 1e9, rel=0.01)


@pytest.mark.parametrize("path", FINETUNING, ids=name)
def test_fine_tuning_is_the_sources(path):
    cfg, size = load_config(path), path.stem[-1]
    videos = 8 * cfg.TRAIN.BATCH_SIZE * cfg.TRAIN.ACCUMULATION  # on 8 processes
    finetune = cfg.FINETUNE
    assert (finetune.MIXUP, finetune.CUTMIX, finetune.SMOOTHING, cfg.TRAIN.WARMUP_EPOCHS) == (0.8, 1, 0.1, 5)
    if path.parent.name == "imagenet":
        assert (videos, cfg.TRAIN.EPOCHS, cfg.DATA.REPEATS) == (1024, 100 if size == "b" else 50, 1)
        assert ((5e-4, 0.65) if size == "b" else (1e-3, 0.75)) == (cfg.TRAIN.BASE_LR, finetune.LAYER_DECAY)
        assert {"b": 0.1, "l": 0.2, "h": 0.3}[size] == finetune.DROP_PATH
        assert finetune.RAND_AUGMENT == [2, 27]
    else:
        assert (cfg.TRAIN.EPOCHS, cfg.DATA.REPEATS, cfg.TRAIN.CLIP_GRAD) == (50, 2, 5)
        assert (cfg.TRAIN.BASE_LR, cfg.TRAIN.COUNT_REPEATS, finetune.LAYER_DECAY) == (2.4e-3, True, 0.75)
        assert (finetune.RAND_AUGMENT, cfg.EVALUATION.VIEWS) == ([2, 21], [7, 3])


@pytest.mark.parametrize("path", [path for path in RECIPES if "_vit_" in path.name], ids=name)
def test_batch_and_rate_are_the_sources(path):
    cfg = load_config(path)
    batch = 8 * cfg.TRAIN.BATCH_SIZE * cfg.TRAIN.ACCUMULATION  # on 8 processes
    rate = cfg.TRAIN.BASE_LR * batch / 256
    assert not cfg.TRAIN.COUNT_REPEATS
    assert cfg.TRAIN.BETAS == [0.9, 0.95]
    assert cfg.TRAIN.WEIGHT_DECAY == 0.05
    if path.parent.name == "imagenet":
        assert (batch, cfg.DATA.REPEATS, cfg.TRAIN.EPOCHS, cfg.TRAIN.WARMUP_EPOCHS) == (4096, 1, 1600, 40)
        assert math.isclose(rate, 2.4e-3)
        assert cfg.DATA.NUM_FRAMES == cfg.MODEL.PATCH[0] == 1
    else:
        assert (batch, cfg.DATA.REPEATS, cfg.TRAIN.CLIP_GRAD) == (128, 4, 0.02)
        assert math.isclose(rate, 8e-4)
        assert (cfg.DATA.NUM_FRAMES, cfg.DATA.STRIDE, cfg.MASK.RATIO) == (16, 4, 0.9)


@pytest.mark.parametrize("path", sorted((CONFIGS / "k400").glob("*.yaml")), ids=name)
def test_kinetics_is_read_with_decord(path):
    assert load_config(path).DATA.BACKEND == "decord"


@pytest.mark.parametrize(
    ("recipe", "changed"),
    [
        *((f"decoder_{kind}", {"MODEL.DECODER.KIND": kind}) for kind in ("joint", "cross_self", "cross")),
        *((f"rho_{rho}", {"DIFFUSION.RHO": rho}) for rho in (0.6, 0.8, 1.0)),
        ("cosine", {"DIFFUSION.SCHEDULE": "cosine", "DIFFUSION.RHO": 1.0}),
        *((f"mask_{kind}", {"MASK.KIND": kind}) for kind in ("random", "tube")),
        *((f"mask_{kind}", {"MASK.KIND": kind, "MASK.RATIO": 0.75}) for kind in ("block", "frame")),
        ("prediction_eps", {"MODEL.PREDICTION": "eps"}),
    ],
)
def test_an_ablation_changes_one_thing(recipe, changed):
    base, ablation = (options(load_config(CONFIGS / "ablation" / f"{r}.yaml")) for r in ("base", recipe))
    assert ablation == {**base, **changed}
