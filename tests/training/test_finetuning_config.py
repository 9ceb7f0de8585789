"""Clips of a fine-tuning run: the checkpoint's, the recipe's or the command line's."""

import pytest

from diffmae_video import InputError, load_config
from diffmae_video.training.finetuning_config import load_finetuning_config
from tests.repository import ROOT
from tests.tiny_models import tiny_diffmae

OWN = ROOT / "configs/finetune/own_videos.yaml"


@pytest.fixture
def checkpoint(tmp_path):
    """A run of 4 frames of 32 x 32, 3 apart."""
    tiny_diffmae().save_pretrained(tmp_path / "run")
    data = ["DATA.SIZE", 32, "DATA.NUM_FRAMES", 4, "DATA.STRIDE", 3]
    (tmp_path / "run/config.yaml").write_text(load_config(None, data).dump())
    return tmp_path / "run"


def clip_of(cfg):
    return list(cfg.DATA.SIZE), cfg.DATA.NUM_FRAMES, cfg.DATA.STRIDE


def test_the_checkpoint_says_what_nobody_sets(checkpoint, capsys):
    cfg = load_finetuning_config(OWN, ["FINETUNE.INIT", checkpoint])
    assert clip_of(cfg) == ([32, 32], 4, 3)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    for part in (str(checkpoint), "DATA.SIZE [32, 32]", "DATA.NUM_FRAMES 4", "DATA.STRIDE 3"):
        assert part in lines[0]


def test_the_recipe_and_the_command_line_come_first(checkpoint, tmp_path, capsys):
    (tmp_path / "base.yaml").write_text("DATA: {STRIDE: 2, FPS: 0, MEAN: [0.4, 0.4, 0.4]}")
    (tmp_path / "recipe.yaml").write_text("_BASE_: base.yaml\nDATA: {NUM_FRAMES: 8}")
    cfg = load_finetuning_config(tmp_path / "recipe.yaml", ["FINETUNE.INIT", checkpoint, "DATA.SIZE", "48"])
    assert clip_of(cfg) == ([48, 48], 8, 2)
    assert list(cfg.DATA.MEAN) == [0.4, 0.4, 0.4]
    line = capsys.readouterr().out
    assert "DATA.STD" in line
    assert not any(key in line for key in ("SIZE", "NUM_FRAMES", "STRIDE", "FPS", "MEAN"))


def test_another_process_says_nothing(checkpoint, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert clip_of(load_finetuning_config(OWN, ["FINETUNE.INIT", checkpoint])) == ([32, 32], 4, 3)
    assert capsys.readouterr().out == ""


def test_from_scratch_the_defaults_hold(capsys):
    assert clip_of(load_finetuning_config(OWN, [])) == ([224, 224], 16, 4)
    assert capsys.readouterr().out == ""


def test_a_checkpoint_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        load_finetuning_config(OWN, ["FINETUNE.INIT", tmp_path / "nowhere"])


def test_a_resumed_run_keeps_its_clips(checkpoint, tmp_path, capsys):
    """Its weights were trained on them, and the checkpoint that it started from may be gone."""
    run = tmp_path / "finetuned"
    run.mkdir()
    (run / "config.yaml").write_text(load_config(None, ["DATA.SIZE", 48, "DATA.STRIDE", 5]).dump())
    options = ["FINETUNE.INIT", tmp_path / "gone", "DATA.STRIDE", 6]
    assert clip_of(load_finetuning_config(OWN, options, run)) == ([48, 48], 16, 6)
    assert capsys.readouterr().out == ""
    cfg = load_finetuning_config(OWN, ["FINETUNE.INIT", checkpoint], tmp_path / "not started")
    assert clip_of(cfg) == ([32, 32], 4, 3)
