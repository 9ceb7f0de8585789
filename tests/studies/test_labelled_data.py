"""Where a study's data lies, and which labels are the few."""

import pytest

from diffmae_video import InputError
from diffmae_video.data import Entry, read_list
from diffmae_video.studies import labelled_data
from diffmae_video.studies.labelled_data import check_labels, find_split, write_label_lists


@pytest.mark.parametrize("names", [("train", "test"), ("train", "val"), ("train.csv", "val.csv")])
def test_a_set_is_folders_or_lists(tmp_path, names):
    with pytest.raises(InputError, match=r"needs folders train/ and test/ \(or val/\), or lists"):
        find_split(tmp_path)
    for name in names:
        (tmp_path / name).mkdir()
    assert find_split(tmp_path) == (tmp_path / names[0], tmp_path / names[1])
    for name in ("train.csv", "val.csv"):  # lists of the files in train/ and val/
        (tmp_path / name).mkdir(exist_ok=True)
    assert find_split(tmp_path) == (tmp_path / "train.csv", tmp_path / "val.csv")


def test_the_few_labels_are_a_tenth_of_each_class_and_differ_by_seed(tmp_path):
    for i in range(60):
        (tmp_path / f"{i}.mp4").touch()
    entries = [Entry(str(tmp_path / f"{i}.mp4"), label="abc"[i % 3]) for i in range(60)]
    by_seed = []
    for seed in (0, 1):
        write_label_lists(entries, tmp_path / str(seed), seed)
        few, whole = (read_list(tmp_path / str(seed) / f"{labels}.csv") for labels in ("few", "all"))
        assert sorted(e.label for e in few) == ["a", "a", "b", "b", "c", "c"]
        assert {e.path for e in few} < {e.path for e in whole}
        assert len(whole) == 60
        by_seed.append({e.path for e in few})
    assert by_seed[0] != by_seed[1]


def test_an_installed_package_says_that_the_scripts_are_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(labelled_data, "SCRIPTS", tmp_path)
    with pytest.raises(InputError, match=r"datasets/digits\.py, .* comes with a clone of the project only"):
        labelled_data.write_digits(tmp_path / "data")


def test_labels_that_do_not_fit_are_refused():
    train = [Entry("0.mp4", label="a"), Entry("1.mp4", label="b")]
    check_labels(train, train)
    for entry, message in ((Entry("2.mp4", label="d"), "'d'"), (Entry("2.mp4"), "no label")):
        with pytest.raises(InputError, match=message):
            check_labels(train, [entry])
        if entry.label is None:
            with pytest.raises(InputError, match=message):
                check_labels([*train, entry], train)
