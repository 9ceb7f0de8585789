"""The runs of a study: equal lengths, their folders, and what is refused."""

from dataclasses import replace

import pytest

from diffmae_video import InputError
from diffmae_video.data import Entry, write_list
from diffmae_video.studies.study import Study, check_same_options
from tests.repository import ROOT

RECIPES = ROOT / "configs/recognition/motions"


@pytest.fixture
def study(tmp_path):
    for i in range(60):
        (tmp_path / f"{i}.mp4").touch()
    write_list(tmp_path / "train.csv", [Entry(f"{i}.mp4", label="abc"[i % 3]) for i in range(60)])
    train = tmp_path / "train.csv"
    return Study("motions", RECIPES, train, train, 0, tmp_path / "out", 2)


def test_runs_have_equal_lengths_and_whole_quarters(study):
    runs = [study.finetuning(0, init, "few") for init in ("scratch", "mae", "diffmae")]
    options = [job.arguments[0] for job in runs]
    assert len({cfg.TRAIN.MAX_STEPS for cfg in options}) == 1
    assert [bool(cfg.FINETUNE.INIT) for cfg in options] == [False, True, True]
    assert study.steps("mae") == study.steps("diffmae")
    assert study.pretrained(0, "mae", 4) == study.pretraining(0, "mae").folder
    quick = replace(study, quick=True, pretraining_steps={"mae": 90})
    assert quick.steps("mae") == 24  # quarters of equal steps, each of which leaves a checkpoint
    longer = replace(study, pretraining_steps={"mae": 18000}).pretraining(0, "mae").arguments[0].TRAIN
    assert (longer.MAX_STEPS, longer.WARMUP_STEPS) == (18000, 600)  # the recipe's are 9,000 and 300


def test_a_recipe_in_epochs_keeps_its_warm_up(study, tmp_path):
    train = "{MAX_STEPS: 0, EPOCHS: 20, WARMUP_STEPS: 0, WARMUP_EPOCHS: 2}"
    (tmp_path / "own.yaml").write_text(f"_BASE_: {RECIPES / 'mae.yaml'}\nTRAIN: {train}\n")
    own = replace(study, recipes=tmp_path, systems=("own",), pretraining_steps={"own": 40})
    cfg = own.pretraining(0, "own").arguments[0].TRAIN
    assert (cfg.MAX_STEPS, cfg.WARMUP_STEPS, cfg.WARMUP_EPOCHS) == (40, 0, 2)


def test_a_run_of_another_budget_is_not_reused(study):
    job = study.pretraining(0, "mae")
    job.folder.mkdir(parents=True)
    (job.folder / "config.yaml").write_text(job.arguments[0].dump())
    check_same_options([job, study.pretraining(0, "diffmae")])
    more = replace(study, pretraining_steps={"mae": 77}).pretraining(0, "mae")
    with pytest.raises(InputError, match=r"seed0/mae: holds a run with other options.*--output"):
        check_same_options([more])
