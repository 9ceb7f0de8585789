"""Which studies a recognition run consists of."""

import json

import pytest

from diffmae_video import InputError
from diffmae_video.studies import recognition as module
from tests.repository import ROOT
from tests.studies.results import RESULT

RECIPES = ROOT / "configs/recognition"


@pytest.fixture
def studies(monkeypatch, tmp_path):
    """The studies that would have been run."""
    studies = []

    def run_study(study, jobs_at_once):
        studies.append((study, jobs_at_once))
        return RESULT

    monkeypatch.setattr(module, "run_study", run_study)
    for name in ("draw_motions", "write_digits"):
        monkeypatch.setattr(module, name, lambda folder: (folder / "train", folder / "val"))
    return studies


def test_each_set_is_a_study_with_its_files(studies, tmp_path):
    for name in ("train", "test"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
    names = ("motions", "digits", "pictures")
    output = tmp_path / "out"
    results = module.study_recognition(names, RECIPES, tmp_path / "pictures", output, 2, True, 5)
    assert list(results) == list(names)
    motions, digits, pictures = (study for study, _ in studies)
    assert [jobs for _, jobs in studies] == [5] * 3
    assert (motions.labelled, digits.labelled) == (1100, 0)
    assert (motions.curves, digits.curves) == (("diffmae",), ())
    assert pictures.val == tmp_path / "pictures/test"
    assert {study.recipes for study, _ in studies} == {RECIPES / name for name in names}
    assert {(study.seeds, study.quick, study.output) for study, _ in studies} == {(2, True, output / "quick")}
    assert json.loads((output / "digits.json").read_text())["classes"] == RESULT["classes"]
    assert "| DiffMAE |" in (output / "digits.md").read_text()
    assert (output / "digits.png").stat().st_size > 10000


def test_all_data_is_checked_before_the_first_study(studies, tmp_path):
    with pytest.raises(InputError, match="needs folders"):
        module.study_recognition(("motions", "pictures"), RECIPES, tmp_path, tmp_path / "out", 1, False, 1)
    assert studies == []
