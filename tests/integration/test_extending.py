"""docs/extending.md: its example of an objective is added as described and goes through a whole run."""

import importlib.util
import json
import re
import sys

import pytest
import torch

from diffmae_video import build, load_config, load_model
from diffmae_video.models import load_backbone
from diffmae_video.training.pretrain import describe_run, pretrain
from tests.integration.runs import CONFIG, TINY
from tests.repository import ROOT


@pytest.fixture
def mean_colour(tmp_path, monkeypatch):
    """The module of the example, with its line in the table of objectives."""
    module_code, line = re.findall(r"```python\n(.*?)```", (ROOT / "docs/extending.md").read_text(), re.S)
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
