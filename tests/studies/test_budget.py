"""Plans of a comparison: what a budget pays for, and which systems there are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffmae_video import InputError, load_config
from diffmae_video.cost.flops import training_cost
from diffmae_video.studies.budget import plan, steps_of, systems_of
from diffmae_video.studies.labelled_sets import labelled_split
from diffmae_video.studies.study import PARTS
from tests.repository import ROOT

RECIPES = ROOT / "configs/recognition/digits"


@given(st.floats(1, 1e18), st.floats(1, 1e12))
def test_a_budget_is_spent_and_not_exceeded(budget, per_step):
    if budget < PARTS * per_step:
        with pytest.raises(InputError, match="pays for less than 4 steps"):
            steps_of(budget, per_step)
        return
    steps = steps_of(budget, per_step)
    assert steps % PARTS == 0
    assert steps * per_step <= budget * (1 + 1e-9)
    assert (steps + PARTS) * per_step > budget * (1 - 1e-9)


def test_systems_are_those_with_recipes():
    def systems(names):
        return systems_of(load_config(None, ["COMPARE.SYSTEMS", names]), RECIPES)

    assert systems("diffmae, mae") == ("diffmae", "mae")
    for names in ("mae,vae", "mae,mae", " "):
        with pytest.raises(InputError, match=r"takes names, each once, out of diffmae, mae, which"):
            systems(names)


def test_all_systems_get_the_same_flops(tmp_path):
    """A step is three forwards of all its clips, a multiply-accumulate two FLOPs."""
    cfg = load_config(None, ["COMPARE.SYSTEMS", "mae,diffmae", "COMPARE.BUDGET", 1e12])
    study, costs = plan(cfg, RECIPES, (tmp_path, tmp_path), tmp_path)
    for system, cost in costs.items():
        recipe = load_config(RECIPES / f"{system}.yaml")
        clips = recipe.TRAIN.BATCH_SIZE * recipe.DATA.REPEATS
        assert cost["macs"] == training_cost(recipe).macs
        assert cost["flops"] == 2 * 3 * cost["macs"] * clips * cost["steps"]
        assert 0.9e12 < cost["flops"] <= 1e12
        assert study.pretraining_steps[system] == cost["steps"]
    assert costs["mae"]["steps"] != costs["diffmae"]["steps"]
    assert study.curves == study.systems
    short = load_config(None, ["COMPARE.SYSTEMS", "mae", "COMPARE.BUDGET", 1e12, "COMPARE.CURVES", False])
    assert not plan(short, RECIPES, (tmp_path, tmp_path), tmp_path)[0].curves


@pytest.mark.parametrize("names", [("train", "test"), ("train", "val"), ("train.csv", "val.csv")])
def test_a_set_is_folders_or_lists(tmp_path, names):
    with pytest.raises(InputError, match="give a folder that has both"):
        labelled_split(tmp_path)
    for name in names:
        (tmp_path / name).mkdir()
    assert labelled_split(tmp_path) == (tmp_path / names[0], tmp_path / names[1])
    for name in ("train.csv", "val.csv"):  # the labels of what is in train/ and val/
        (tmp_path / name).mkdir(exist_ok=True)
    assert labelled_split(tmp_path) == (tmp_path / "train.csv", tmp_path / "val.csv")
