"""The comparison's systems and its study."""

import pytest

from diffmae_video import InputError, load_config
from diffmae_video.studies.comparison import compare, comparison_study, systems_of
from tests.repository import ROOT

RECIPES = ROOT / "configs/recognition/digits"


def test_systems_need_recipes():
    def systems(names):
        return systems_of(load_config(None, ["COMPARE.SYSTEMS", names]), RECIPES)

    assert systems("diffmae, mae") == ("diffmae", "mae")
    for names in ("mae,vae", "mae,mae", "[]"):
        with pytest.raises(InputError, match=r"name some of diffmae, mae \(the recipes in .*each once"):
            systems(names)


@pytest.mark.parametrize("has_curves", [True, False])
def test_the_study_trains_for_the_steps_that_the_budget_pays_for(tmp_path, has_curves):
    cfg = load_config(None, ["COMPARE.BUDGET", 1e12, "COMPARE.SEEDS", 2, "COMPARE.CURVES", has_curves])
    costs = {"mae": {"steps": 12.0}, "diffmae": {"steps": 8.0}}
    study = comparison_study(cfg, ("mae", "diffmae"), costs, RECIPES, (tmp_path, tmp_path), tmp_path)
    assert (study.steps("mae"), study.steps("diffmae")) == (12, 8)
    assert study.curves == (study.systems if has_curves else ())
    assert (study.budget, study.unit, study.seeds) == (1e12, "FLOPs", 2)


def test_a_config_without_recipes_is_one_line(tmp_path):
    (tmp_path / "plan.yaml").write_text("COMPARE: {SEEDS: 1}\n")
    with pytest.raises(InputError, match=r"plan: no such folder; the systems' recipes belong there"):
        compare(tmp_path / "plan.yaml", [], None, tmp_path / "out", 1)
