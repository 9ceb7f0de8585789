"""Folders of models: the same weights come back, and what is broken is named."""

import json

import pytest
import torch

from diffmae_video import InputError, load_encoder, load_model
from diffmae_video.files import write_tensors
from diffmae_video.models import DiffMAE, load_backbone, load_inpainter
from tests.tiny_models import tiny_diffmae


def test_a_saved_model_comes_back(tmp_path):
    model = tiny_diffmae("cross", mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.1))
    model.save_pretrained(tmp_path / "model")
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["config.json", "model.safetensors"]
    clip = torch.randn(1, 3, 4, 32, 32)
    for again in (load_model(tmp_path / "model"), DiffMAE.from_pretrained(str(tmp_path / "model"))):
        assert not again.training
        assert again.mean == (0.5, 0.4, 0.3)
        assert again.decoder.kind == "cross"
        torch.testing.assert_close(again.encode(clip), model.encode(clip), rtol=0, atol=0)
        assert json.loads((tmp_path / "model/config.json").read_text())["model"] == "DiffMAE"


def test_positions_are_made_for_the_grid_and_not_stored(tmp_path):
    model = tiny_diffmae(encoder={"positions": "sharp"})
    model.save_pretrained(tmp_path)
    assert load_model(tmp_path).encoder.positions.kind == "sharp"
    assert not [name for name in model.state_dict() if "table" in name]


@pytest.fixture
def averaged_run(tmp_path):
    """A folder whose last weights are all 1 and whose average is all 2."""
    model = tiny_diffmae()
    state = model.state_dict()
    model.save_pretrained(tmp_path, state_dict={name: torch.ones_like(x) for name, x in state.items()})
    write_tensors(tmp_path / "ema.safetensors", {name: torch.full_like(x, 2) for name, x in state.items()})
    return tmp_path


def test_pictures_are_made_with_the_average(averaged_run):
    assert load_model(averaged_run).decoder.head.bias.unique().tolist() == [2]
    assert load_inpainter(averaged_run).decoder.head.bias.unique().tolist() == [2]
    assert load_model(averaged_run, averaged=False).decoder.head.bias.unique().tolist() == [1]


def test_features_are_those_of_the_last_step(averaged_run):
    for backbone in (load_backbone(averaged_run), load_encoder(averaged_run)):
        assert backbone.norm.bias.unique().tolist() == [1]


def test_saving_removes_the_average_of_former_weights(averaged_run):
    load_model(averaged_run, averaged=False).save_pretrained(averaged_run)
    assert load_model(averaged_run).decoder.head.bias.unique().tolist() == [1]


def test_an_average_that_is_not_there_is_named(tmp_path):
    tiny_diffmae().save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"ema\.safetensors: no such file; only runs with TRAIN\.EMA"):
        load_model(tmp_path, averaged=True)


def break_weights(folder, how):
    path = folder / "model.safetensors"
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "missing":
        path.unlink()
    elif how == "text":
        path.write_text("no weights")
    elif how == "no config":
        (folder / "config.json").unlink()
    elif how == "broken config":
        (folder / "config.json").write_text("{")
    elif how == "other model":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "model": "GAN"}))
    elif how == "other width":
        config = json.loads((folder / "config.json").read_text())
        config["decoder"]["width"] = 64
        (folder / "config.json").write_text(json.dumps(config))
    elif how == "other argument":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "colour": 1}))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated", "not a whole safetensors file"),
        ("missing", "not a whole safetensors file"),
        ("text", "not a whole safetensors file"),
        ("no config", "no config.json here"),
        ("broken config", "not the configuration of a model"),
        ("other model", "unknown model 'GAN'; known are ADM"),
        ("other width", r"decoder.head.weight is \[384, 32\] and not \[384, 64\]"),
        ("other argument", "colour"),
    ],
)
def test_a_broken_folder_is_refused(tmp_path, how, message):
    tiny_diffmae().save_pretrained(tmp_path)
    break_weights(tmp_path, how)
    with pytest.raises(InputError, match=message):
        load_model(tmp_path)


def test_a_failed_save_keeps_what_was_there(tmp_path, monkeypatch):
    model = tiny_diffmae()
    model.save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()

    def full_disk(_tensors, path, _metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2
