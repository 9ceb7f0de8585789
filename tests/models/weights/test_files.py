"""Files of weights: damaged and foreign ones are refused, and shards are read whole."""

import pickle
from pathlib import Path

import pytest
import torch

from diffmae_video import InputError, load_encoder
from tests.models.weights.reference_vit import HEADS, LAYOUTS, save


class Trap:
    """Would write a file if a pickle of it were run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def broken(tmp_path, how):
    weights, path = LAYOUTS["mae"](), tmp_path / "w.pt"
    if how == "truncated":
        path.write_bytes(save(path, weights).read_bytes()[:-500])
    elif how == "truncated safetensors":
        path = save(tmp_path / "w.safetensors", weights)
        path.write_bytes(path.read_bytes()[:-500])
    elif how == "text":
        path.write_text("this is no checkpoint")
    elif how == "empty":
        path.touch()
    elif how == "raw pickle":
        path.write_bytes(pickle.dumps({"weights": [1.0, 2.0]}))
    elif how == "trap":
        torch.save({"model": weights, "more": Trap(tmp_path / "sprung")}, path)
    elif how == "list":
        torch.save([1, 2], path)
    elif how == "options only":
        torch.save({"model": {}, "epoch": 1}, path)
    elif how == "not only tensors":
        torch.save({"model": {**weights, "step": 3}}, path)
    elif how == "another model":
        torch.save({"conv1.weight": torch.zeros(3)}, path)
    elif how == "empty folder":
        return tmp_path
    elif how == "config":
        (tmp_path / "config.json").write_text("[")
        return save(tmp_path / "model.safetensors", weights)
    return path


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated", "not a whole checkpoint"),
        ("truncated safetensors", "not a whole safetensors"),
        ("text", "not a whole checkpoint"),
        ("empty", "not a whole checkpoint"),
        ("raw pickle", "not a whole checkpoint|no weights here"),
        ("trap", "only tensors and plain values are read"),
        ("list", "no weights here, nor under the keys model, module"),
        ("options only", "no weights here"),
        ("not only tensors", "not tensors: step"),
        ("another model", "its keys are conv1.weight"),
        ("absent", "no such file or folder"),
        ("empty folder", "no model.safetensors or pytorch_model.bin in this folder"),
        ("config", "not valid JSON"),
    ],
)
def test_broken_and_foreign_files_are_refused(tmp_path, how, message):
    path = broken(tmp_path, how)
    with pytest.raises(InputError, match=message) as error:
        load_encoder(path, num_heads=HEADS)
    assert str(path.parent) in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "sprung").exists()
