"""Run folders written by the code of an earlier commit still load, evaluate and resume.

tests/fixtures/old_runs/write_old_runs.py says how they were made.
"""

import json
import shutil

import pytest
import torch

from diffmae_video import load_config, load_model
from diffmae_video.cli import shortened
from diffmae_video.training.pretrain import pretrain
from tests.calls import diffmae
from tests.integration.runs import rows
from tests.repository import ROOT

COMPARED = ("loss", "lr", "grad_norm")


@pytest.fixture
def old_runs(tmp_path, monkeypatch):
    """A copy of the folders, which the recipes in them expect to be the current one."""
    copy = tmp_path / "old_runs"
    shutil.copytree(ROOT / "tests/fixtures/old_runs", copy)
    monkeypatch.chdir(copy)
    return copy


def test_a_run_resumes_to_the_same_losses(old_runs):
    output = old_runs / "pretrained"
    metrics, validations = rows(output), rows(output, "validation.jsonl")
    pretrain(load_config(output / "config.yaml"), output, resume=True)
    with_figures = [{key: row[key] for key in ("step", *COMPARED)} for row in metrics]
    assert [row["step"] for row in with_figures] == [1, 2, 3, 4, 5, 6]
    for before, after in zip(with_figures, rows(output), strict=True):
        assert before == pytest.approx({key: after[key] for key in before}, rel=1e-4)
    for before, after in zip(validations, rows(output, "validation.jsonl"), strict=True):
        assert before == pytest.approx(after, rel=1e-4)
    starts = json.loads((output / "environment.json").read_text())
    assert len(starts) == 1, "only the resumed part of the run started here"


def test_models_give_the_same_values(old_runs):
    expected = json.loads((old_runs / "expected.json").read_text())
    clip = torch.linspace(-1, 1, 3 * 4 * 32 * 32).reshape(1, 3, 4, 32, 32)
    with torch.no_grad():
        tokens = load_model("pretrained/checkpoints/step_00000003").encode(clip)[0, :4]
        logits = load_model("classifier/best")(clip)[0]
    torch.testing.assert_close(tokens, torch.tensor(expected["tokens"]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits, torch.tensor(expected["logits"]), rtol=1e-4, atol=1e-4)


def test_a_classifier_is_evaluated_by_its_own_recipe(old_runs):
    last = rows(old_runs / "classifier", "validation.jsonl")[-1]
    done = diffmae("evaluate", "--checkpoint", "classifier/best")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["top1"] == shortened(last["top1"])
