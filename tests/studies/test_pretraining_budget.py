"""What a budget of pre-training pays for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffmae_video import InputError, load_config
from diffmae_video.build import meta_model
from diffmae_video.cost.flops import training_cost
from diffmae_video.studies.pretraining_budget import affordable_steps, costs_at_budget
from diffmae_video.studies.study import QUARTERS
from tests.repository import ROOT

RECIPES = ROOT / "configs/recognition/digits"


@given(st.floats(1, 1e18), st.floats(1, 1e12))
def test_a_budget_is_spent_and_not_exceeded(budget, step_cost):
    if budget < QUARTERS * step_cost:
        with pytest.raises(InputError, match="pays for fewer than 4 steps"):
            affordable_steps(budget, step_cost)
        return
    steps = affordable_steps(budget, step_cost)
    assert steps % QUARTERS == 0
    assert steps * step_cost <= budget * (1 + 1e-9)
    assert (steps + QUARTERS) * step_cost > budget * (1 - 1e-9)


def test_all_systems_get_the_same_flops(tmp_path):
    """A step costs three forward passes of all its clips; a multiply-accumulate is two FLOPs."""
    costs = costs_at_budget(("mae", "diffmae"), RECIPES, 1e12, "flops", tmp_path, tmp_path)
    for system, cost in costs.items():
        recipe = load_config(RECIPES / f"{system}.yaml")
        clips = recipe.TRAIN.BATCH_SIZE * recipe.DATA.REPEATS
        assert cost["macs"] == training_cost(meta_model(recipe)).macs
        assert cost["flops"] == 2 * 3 * cost["macs"] * clips * cost["steps"]
        assert cost["pictures"] == clips * cost["steps"]
        assert 0.9e12 < cost["flops"] <= 1e12
    assert costs["mae"]["steps"] != costs["diffmae"]["steps"]


def test_a_budget_of_pictures(tmp_path):
    costs = costs_at_budget(("mae", "diffmae"), RECIPES, 1e5, "pictures", tmp_path, tmp_path)
    for cost in costs.values():
        assert 0.9e5 < cost["pictures"] <= 1e5
