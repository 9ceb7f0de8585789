"""A saved model for features, and what it says about its clips."""

import json

import pytest

from diffmae_video.config import load_config
from diffmae_video.frozen_model import clip_options, load_frozen
from diffmae_video.models import Encoder
from diffmae_video.models.weights.convert import save_as
from tests.tiny_models import tiny_diffmae


def test_a_timm_folder_says_its_own_mean_size_and_frames(tmp_path):
    save_as(Encoder((48, 48), 1, (1, 8, 8), width=32, depth=2, heads=2), tmp_path, "timm")
    about = json.loads((tmp_path / "config.json").read_text())
    about["pretrained_cfg"] |= {"mean": [0.5, 0.5, 0.5], "std": [0.4, 0.5, 0.6]}
    (tmp_path / "config.json").write_text(json.dumps(about))
    data = load_frozen(tmp_path).cfg.DATA
    assert (list(data.MEAN), list(data.STD)) == ([0.5, 0.5, 0.5], [0.4, 0.5, 0.6])
    assert (list(data.SIZE), data.NUM_FRAMES) == ([48, 48], 1)
    data = load_frozen(tmp_path, ["DATA.MEAN", "[0.1, 0.2, 0.3]"]).cfg.DATA
    assert (list(data.MEAN), list(data.STD)) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])


@pytest.fixture
def run(tmp_path):
    """The folder of a run, with a checkpoint in it."""
    recipe = tmp_path / "run/config.yaml"
    for folder in (recipe.parent, recipe.parent / "checkpoints/step_00000001"):
        tiny_diffmae(mean=(0.5, 0.5, 0.5)).save_pretrained(folder)
    data = ["DATA.SIZE", 32, "DATA.NUM_FRAMES", 4, "DATA.STRIDE", 3, "DATA.FPS", 12, "DATA.MEAN", 0.5]
    recipe.write_text(load_config(None, data).dump())
    return recipe.parent


def test_a_run_says_how_its_clips_are_sampled(run):
    expected = {
        "DATA.SIZE": [32, 32], "DATA.NUM_FRAMES": 4, "DATA.STRIDE": 3, "DATA.FPS": 12.0,
        "DATA.MEAN": [0.5, 0.5, 0.5], "DATA.STD": [0.229, 0.224, 0.225],
    }  # fmt: skip
    for path in (run, run / "checkpoints/step_00000001", run / "model.safetensors"):
        assert clip_options(path) == expected


def test_a_folder_without_a_recipe_says_its_size_and_pixels_only(run):
    (run / "config.yaml").unlink()
    options = clip_options(run)
    assert options.keys() == {"DATA.SIZE", "DATA.NUM_FRAMES", "DATA.MEAN", "DATA.STD"}
    assert (options["DATA.SIZE"], options["DATA.NUM_FRAMES"]) == ([32, 32], 4)
    assert options["DATA.MEAN"] == [0.5, 0.5, 0.5]
