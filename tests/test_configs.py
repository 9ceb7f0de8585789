"""The recipes: each loads, makes its model, and states what it costs."""

import math
import re
from pathlib import Path

import pytest

from diffmae_video import load_config
from diffmae_video.config import default_config
from diffmae_video.flops import training_cost
from tests.conftest import ROOT

CONFIGS = ROOT / "configs"
RECIPES = sorted(
    path
    for folder in ("imagenet", "k400", "ablation")
    for path in (CONFIGS / folder).glob("*.yaml")
    if not path.name.startswith("finetune")
)
COST = re.compile(
    r"^# Cost: ([\d.]+) M parameters, ([\d.]+) GFLOPs \(multiply-accumulates\) per clip forward$", re.M
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


@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_its_first_lines_state_source_cost_and_result(path):
    header = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        header.append(line)
    fields = [line.split(":")[0] for line in header if re.match(r"# (Source|Cost|Result):", line)]
    assert fields == ["# Source", "# Cost", "# Result"]
    assert COST.search("\n".join(header))
    assert re.search(r"known|expected", "\n".join(header).split("# Result:")[1])


@pytest.mark.parametrize(
    "path", [path for path in sorted(CONFIGS.rglob("*.yaml")) if COST.search(path.read_text())], ids=name
)
def test_its_stated_cost_is_the_counted_one(path):
    found = COST.search(path.read_text())
    cost = training_cost(load_config(path))
    assert float(found[1]) == pytest.approx(cost.parameters / 1e6, rel=0.01)
    assert float(found[2]) == pytest.approx(cost.macs / 1e9, rel=0.01)


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
