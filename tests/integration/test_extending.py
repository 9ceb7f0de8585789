"""docs/extending.md: its examples are added as described and go through whole runs."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys

import pytest
import torch

from diffmae_video import build, load_config, load_model
from diffmae_video.models import load_backbone
from diffmae_video.training.pretrain import describe_run, pretrain
from tests.integration.runs import CONFIG, TINY, environment
from tests.repository import ROOT


def examples(title):
    """The Python code in a section of the document."""
    section = (ROOT / "docs/extending.md").read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.S)


@pytest.fixture
def mean_colour(tmp_path, monkeypatch):
    """The module of the example, with its line in the table of objectives."""
    module_code, line = examples("A pre-training objective")
    path = tmp_path / "mean_colour.py"
    path.write_text(module_code)
    spec = importlib.util.spec_from_file_location("mean_colour", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mean_colour", module)
    spec.loader.exec_module(module)
    scope = {**vars(build), "MeanColour": module.MeanColour}
    for name, builder in eval(f"{{{line}}}", scope).items():
        monkeypatch.setitem(build.OBJECTIVES, name, builder)
    return module


def test_a_sixth_objective_is_a_file_and_a_line(tmp_path, films, mean_colour):
    options = [*TINY, "DATA.TRAIN", films, "DATA.VAL", films, "TRAIN.MAX_STEPS", 2, "TRAIN.BATCH_SIZE", 2]
    validated = ["VALIDATION.EVERY_STEPS", 2, "VALIDATION.CLIPS", 6, "DATA.WORKERS", 0]
    cfg = load_config(CONFIG, [*options, *validated, "MODEL.OBJECTIVE", "mean_colour"])
    assert "M parameters" in describe_run(cfg)
    output = tmp_path / "run"
    pretrain(cfg, output)
    losses = [json.loads(line)["loss"] for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 2
    assert losses[0] != losses[1]
    (figures,) = map(json.loads, (output / "validation.jsonl").read_text().splitlines())
    assert figures.keys() == {"step", "loss"}
    model = load_model(output)
    assert type(model) is mean_colour.MeanColour
    clip = torch.randn(1, 3, 4, 32, 32)
    torch.testing.assert_close(load_backbone(output)(clip), model.encode(clip))


BOTH = """
import sys, torch
from diffmae_video import Mask
from diffmae_video.__main__ import main
generators = [torch.Generator().manual_seed(seed) for seed in (0, 0, 1)]
masks = [Mask.draw("band", 50, (2, 4, 4), 0.5, generator).to_bool() for generator in generators]
assert torch.equal(masks[0], masks[1]) and not torch.equal(masks[0], masks[2])
assert (masks[0].sum((1, 3)) > 0).sum(1).eq(2).all() and masks[0].any(0).all()
for arguments in (sys.argv[1].split("|"), sys.argv[2].split("|")):
    sys.argv = ["diffmae", *arguments]
    try:
        main()
    except SystemExit as ended:
        assert ended.code == 0
"""


def test_a_kind_of_mask_is_a_method_and_a_name(tmp_path, films):
    """In a copy of the package: a model is trained with it, and then fills a film's hole of that kind."""
    shutil.copytree(
        ROOT / "diffmae_video", tmp_path / "diffmae_video", ignore=shutil.ignore_patterns("__pycache__")
    )
    masks = tmp_path / "diffmae_video/masks.py"
    (method,) = examples("A mask")
    text = masks.read_text()
    masks.write_text(
        text.replace("    @classmethod\n    def center(", f"{method}\n    @classmethod\n    def center(")
    )
    kinds = tmp_path / "diffmae_video/mask_kinds.py"
    kinds.write_text(kinds.read_text().replace("MASKS = (", 'MASKS = ("band", '))
    train = ["pretrain", "--config", CONFIG, "--output", tmp_path / "run", "DATA.TRAIN", films, *TINY]
    train += ["MASK.KIND", "band", "MASK.RATIO", 0.5, "TRAIN.MAX_STEPS", 1, "TRAIN.BATCH_SIZE", 2]
    fill = ["inpaint", "--checkpoint", tmp_path / "run", "--input", films / "0.mp4", "--mask", "band"]
    fill += ["--output", tmp_path / "filled.mp4", "--steps", 2]
    help_text = subprocess.run(
        [sys.executable, "-m", "diffmae_video", "inpaint", "--help"],
        capture_output=True,
        text=True,
        env=environment(PYTHONPATH=tmp_path),
        cwd=tmp_path,
    ).stdout
    assert "    band, random, tube" in help_text
    done = subprocess.run(
        [sys.executable, "-c", BOTH, *("|".join(map(str, arguments)) for arguments in (train, fill))],
        capture_output=True,
        text=True,
        env=environment(PYTHONPATH=tmp_path),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "filled.json").read_text())
    assert (result["mask"], result["mask_ratio"], result["reference"]) == ("band", 0.5, "truth")
    assert result["hidden_share"] == pytest.approx(0.5)
