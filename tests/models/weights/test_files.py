"""Files of weights: damaged and foreign ones are refused, and shards are read whole."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from diffmae_video import InputError, load_encoder
from tests.models.weights.reference_vit import (
    DEPTH,
    HEADS,
    LAYOUTS,
    D,
    Reference,
    check,
    hf_weights,
    mae_weights,
    save,
    videomae_reference,
)


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


CONFIG = {"image_size": 32, "num_frames": 4, "num_attention_heads": HEADS, "num_hidden_layers": DEPTH}


def shards(folder, suffix, count=2):
    """A model in shards as Hugging Face writes them; the first holds a whole encoder of fewer blocks."""
    ref = videomae_reference(norm=False, eps=1e-12)
    weights = hf_weights(ref, "videomae.") | {"classifier.weight": torch.randn(5, D)}
    last = [key for key in weights if f"layer.{DEPTH - 1}." in key or key == "classifier.weight"]
    parts = [{k: v for k, v in weights.items() if k not in last}, {k: weights[k] for k in last}]
    stem = {"safetensors": "model", "bin": "pytorch_model"}[suffix]
    names = [f"{stem}-0000{i + 1}-of-0000{count}.{suffix}" for i in range(count)]
    for name, part in zip(names, parts, strict=True):
        save(folder / name, part, wrapper=None)
    weight_map = {key: name for name, part in zip(names, parts, strict=True) for key in part}
    index = folder / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return ref, [folder / name for name in names], index


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_a_sharded_model_is_read_whole_from_any_of_its_files(tmp_path, suffix, caplog):
    ref, parts, index = shards(tmp_path, suffix)
    for path in (tmp_path, index, *parts):
        caplog.clear()
        check(path, ref)
        lines = (
            [f"{path}: is one shard of a model; reads all shards in {index.name}"] if path in parts else []
        )
        assert caplog.messages == [*lines, f"{path}: skipped, not part of the encoder: classifier"]
    # config.json belongs to the shards: the width alone does not tell the heads
    assert load_encoder(parts[0]).blocks[0].attn.num_heads == HEADS


def test_shards_may_have_any_name(tmp_path):
    ref, parts, index = shards(tmp_path, "safetensors")
    for part, name in zip(parts, ("a.safetensors", "b.safetensors"), strict=True):
        part.rename(tmp_path / name)
        index.write_text(index.read_text().replace(part.name, name))
    index.rename(tmp_path / "model.safetensors.index.fp16.json")
    check(tmp_path / "a.safetensors", ref)


def break_shards(parts, index, how):
    if how == "a shard is missing":
        parts[1].unlink()
    elif how == "no index":
        index.unlink()
    elif how == "a shard of another model":
        save(parts[1], {"other": torch.zeros(1)}, wrapper=None)
    elif how == "a damaged shard":
        parts[1].write_bytes(parts[1].read_bytes()[:-100])
    elif how == "a shard that is a list":
        torch.save([1], parts[1])
    elif how == "no weight_map":
        index.write_text("{}")
    elif how == "another folder":
        index.write_text(index.read_text().replace(parts[1].name, "../" + parts[1].name))
    elif how == "broken index":
        index.write_text("[")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("a shard is missing", "of its 2 shards these are missing: pytorch_model-00002-of-00002.bin"),
        ("no index", "has shards of a model but no index|is one shard of a model; put all"),
        ("a shard of another model", "its shards lack videomae.encoder.layer.1"),
        ("a damaged shard", "not a whole checkpoint"),
        ("a shard that is a list", "not a shard"),
        ("no weight_map", "not the index of a sharded model|is one shard of a model"),
        ("another folder", "not the index of a sharded model"),
        ("broken index", "not valid JSON"),
    ],
)
def test_an_incomplete_sharded_model_is_refused(tmp_path, how, message):
    _, parts, index = shards(tmp_path, "bin")
    break_shards(parts, index, how)
    for path in (tmp_path, parts[0]):
        with pytest.raises(InputError, match=message) as error:
            load_encoder(path)
        assert "\n" not in str(error.value)


def test_a_single_file_beside_an_index_is_read_alone(tmp_path):
    _, parts, _ = shards(tmp_path, "safetensors")
    ref = videomae_reference(norm=False)
    save(tmp_path / "model.safetensors", hf_weights(ref))
    check(tmp_path, ref, eps=1e-6)
    assert parts[0].is_file()


def test_a_file_whose_name_counts_steps_is_not_a_shard(tmp_path):
    ref = Reference(t=1, steps=1)
    check(save(tmp_path / "epoch-10-of-100.pth", mae_weights(ref)), ref, torch.randn(1, 3, 32, 32))


def test_a_folder_names_what_it_holds_instead(tmp_path):
    save(tmp_path / "mp_rank_00_model_states.pt", mae_weights(Reference(t=1, steps=1)))
    (tmp_path / "checkpoint-10").mkdir()
    save(tmp_path / "checkpoint-10/model.safetensors", mae_weights(Reference(t=1, steps=1)))
    with pytest.raises(InputError, match=r"give one of these: checkpoint-10, mp_rank_00_model_states\.pt$"):
        load_encoder(tmp_path)


def test_numbers_and_arrays_of_numpy_are_plain_values(tmp_path):
    ref = Reference(t=1, steps=1)
    arrays = {key: value.numpy() for key, value in mae_weights(ref).items()}
    figures = {"best": np.float64(77.0), "epoch": np.int64(3), "done": np.bool_(True)}
    torch.save({"model": arrays, **figures, "history": np.arange(3)}, tmp_path / "w.pth")
    check(tmp_path / "w.pth", ref, torch.randn(1, 3, 32, 32))
