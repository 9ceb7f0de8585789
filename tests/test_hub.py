"""Names of the hub, read from a cache as huggingface_hub lays it out; nothing is downloaded."""

import pytest
from huggingface_hub import constants

from diffmae_video import InputError, load_model
from diffmae_video.hub import local_weights
from tests.tiny_models import tiny_diffmae


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache with one model, ``someone/tiny``, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    model, commit = tmp_path / "models--someone--tiny", "0" * 40
    (model / "refs").mkdir(parents=True)
    (model / "refs/main").write_text(commit)
    tiny_diffmae().save_pretrained(model / "snapshots" / commit)
    return model / "snapshots" / commit


def test_a_name_of_the_hub_is_a_folder_of_its_cache(cache):
    assert local_weights("someone/tiny") == cache
    assert type(load_model("someone/tiny")).__name__ == "DiffMAE"


def test_a_path_that_exists_comes_first(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "someone/tiny").mkdir(parents=True)
    assert str(local_weights("someone/tiny")) == "someone/tiny"


@pytest.mark.parametrize("name", ["runs/model.pth", "a", "./runs/b", "/runs/b", "a/b/c", "../b"])
def test_other_names_are_left_to_the_reader(name):
    assert str(local_weights(name)) == name.removeprefix("./")


def test_an_unknown_model_is_one_line(cache):
    with pytest.raises(InputError, match=r"runs/vit_b: no such file or folder, .*offline mode"):
        local_weights("runs/vit_b")
