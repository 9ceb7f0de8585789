"""What a study checks before its first run, and which runs it consists of."""

from dataclasses import replace

import pytest

from diffmae_video import InputError
from diffmae_video.data import Entry, write_list
from diffmae_video.studies import run_study as module
from diffmae_video.studies.run_study import run_study
from diffmae_video.studies.study import Study
from tests.repository import ROOT

RECIPES = ROOT / "configs/recognition/motions"


@pytest.fixture
def study(tmp_path):
    (tmp_path / "0.mp4").touch()
    write_list(tmp_path / "train.csv", [Entry("0.mp4", label=label) for label in "abc"])
    train = tmp_path / "train.csv"
    return Study("motions", RECIPES, train, train, 0, tmp_path / "out", 2)


def test_labels_that_do_not_fit_are_refused_before_the_work(study, tmp_path):
    for entry, message in ((Entry("0.mp4", label="d"), "'d'"), (Entry("0.mp4"), "no label")):
        write_list(tmp_path / "val.csv", [entry])
        with pytest.raises(InputError, match=message):
            run_study(replace(study, val=tmp_path / "val.csv"), 1)
    assert not study.output.exists()


class Reached(Exception):
    pass


@pytest.mark.parametrize("curves", [(), ("diffmae",)])
def test_all_runs_are_there_once_and_pre_training_comes_first(study, monkeypatch, curves):
    def watch(jobs, at_once, title):
        raise Reached(jobs, at_once, title)

    def name(job):
        return job.folder.relative_to(study.output / "motions").as_posix()

    monkeypatch.setattr(module, "run_jobs", watch)
    with pytest.raises(Reached) as reached:
        run_study(replace(study, curves=curves), 3)
    jobs, at_once, title = reached.value.args
    assert (at_once, title) == (3, "motions")
    names = [name(job) for job in jobs]
    assert [n.split("/")[0] for n in names] == sorted(n.split("/")[0] for n in names)  # seed 0 comes first
    assert names[:2] == ["seed0/mae", "seed0/diffmae"]
    needs = {name(job): [name(needed) for needed in job.needs] for job in jobs}
    assert needs["seed0/mae"] == needs["seed1/finetune-scratch"] == needs["seed1/probe-scratch"] == []
    assert needs["seed1/finetune-mae"] == needs["seed1/probe-mae"] == ["seed1/mae"]
    second = [name for name in names if "-" in name]
    assert len(names) == len(second) + 4
    inits = ("scratch", "mae", "diffmae")
    kinds = ("finetune", "finetune_few", "probe")
    expected = {f"seed{seed}/{kind}-{init}" for seed in (0, 1) for kind in kinds for init in inits}
    expected |= {f"seed{seed}/one_frame-scratch" for seed in (0, 1)}
    if curves:
        expected |= {f"seed0/{kind}-diffmae-{i}" for kind in ("finetune_few", "probe") for i in (1, 2, 3)}
        expected |= {f"seed0/probe-mae-{i}" for i in (1, 2, 3)}
    assert sorted(second) == sorted(expected)
    assert (study.output / "motions/seed1/few.csv").is_file()
    assert (study.untrained(1) / "model.safetensors").is_file()
