"""Checkpoints: from any stage to any other, whole or not taken, and never at the cost of an earlier one."""

import errno
import json
import os
import pickle
import shutil
import threading

import pytest
import torch
from safetensors.torch import load_file

from diffmae_video import InputError, load_model
from diffmae_video.runtime.processes import Process
from diffmae_video.training.checkpoints import (
    Checkpoints,
    Progress,
    file_of,
    load_model_weights,
    read_progress,
    restore,
)
from diffmae_video.training.hashed_files import sha256
from diffmae_video.training.sharded_state import EMA, MOMENTS, WEIGHT, adam_steps, gather, update_ema
from tests.tiny_models import tiny_diffmae
from tests.training.engines import engine_of, train_step

ALONE = Process(0, 1, torch.device("cpu"))
KEYS = (WEIGHT, *MOMENTS, EMA)
AVERAGED = ("TRAIN.EMA", 0.9)


def values_of(engine):
    return {(key, name): value for key in KEYS for name, value in gather(engine, key)}


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ((2, "fp32"), (0, "fp32")),
        ((0, "fp32"), (3, "fp32")),
        ((3, "bf16"), (1, "bf16")),
        ((1, "bf16"), (0, "bf16")),
        ((0, "bf16"), (2, "bf16")),
    ],
)
def test_a_run_goes_on_at_another_stage(tmp_path, one, two):
    engine = engine_of(*one, None, *AVERAGED)
    for step in range(2):
        train_step(engine, step)
        update_ema(engine, 0.9)
    checkpoints = Checkpoints(tmp_path, 3, ALONE)
    assert checkpoints.save(engine, Progress(step=2, samples=4, best_cost=1.5))
    expected = values_of(engine)
    losses = [train_step(engine, step)[1] for step in (2, 3)]

    model = tiny_diffmae(encoder={"class_token": True})  # other weights
    load_model_weights(model, checkpoints.newest(), ALONE)
    other = engine_of(*two, model, *AVERAGED)
    state = restore(other, checkpoints.newest(), ALONE)
    assert (state.step, state.samples, state.best_cost, adam_steps(other)) == (2, 4, 1.5, 2)
    for key, value in values_of(other).items():
        assert torch.equal(value, expected[key]), key
    close = 1e-5 if one[1] == "fp32" else 2e-2
    assert [train_step(other, step)[1] for step in (2, 3)] == pytest.approx(losses, rel=close)


def test_its_model_is_a_model_in_float32(tmp_path):
    engine = engine_of(0, "bf16", None, *AVERAGED)
    train_step(engine, 0)
    checkpoints = Checkpoints(tmp_path, 3, ALONE)
    checkpoints.save(engine, Progress(step=1))
    folder = checkpoints.path(1)
    model = load_model(folder, averaged=False)
    for name, value in gather(engine, WEIGHT):  # the optimizer's own, not what bf16 has left of it
        assert torch.equal(model.state_dict()[name], value)
    assert any((v != v.bfloat16().float()).any() for v in model.state_dict().values())
    assert load_file(folder / "ema.safetensors").keys() == model.state_dict().keys()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest.keys() | {"manifest.json"} == {path.name for path in folder.iterdir()}
    assert not list(tmp_path.glob(".*"))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Checkpoints of steps 1, 2 and 3."""
    engine, folder = engine_of(), tmp_path_factory.mktemp("saved")
    for step in range(3):
        train_step(engine, step)
        assert Checkpoints(folder, 3, ALONE).save(engine, Progress(step=step + 1))
    return folder


@pytest.fixture
def three(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "checkpoints")
    return Checkpoints(tmp_path / "checkpoints", 3, ALONE)


def truncated(folder):
    path = folder / "exp_avg.safetensors"
    os.truncate(path, path.stat().st_size - 1)


def flipped(folder):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def gone(folder):
    (folder / "exp_avg_sq.safetensors").unlink()


def unnamed(folder):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["model.safetensors"]
    path.write_text(json.dumps(manifest))


def garbled(folder):
    (folder / "manifest.json").write_text("{")


class Trap:
    def __reduce__(self):
        return (os.mkdir, (os.environ["TRAP"],))


def pickled(folder):
    """Under a name that is read, and in the manifest as it must be."""
    path, listed = folder / "model.safetensors", folder / "manifest.json"
    path.write_bytes(pickle.dumps(Trap()))
    manifest = json.loads(listed.read_text())
    manifest[path.name] = {"size": path.stat().st_size, "sha256": sha256(path)}
    listed.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncated, "exp_avg.safetensors has"),
        (flipped, "model.safetensors has changed since it was written"),
        (gone, "exp_avg_sq.safetensors is missing"),
        (unnamed, "model.safetensors is not in manifest.json"),
        (garbled, "JSONDecodeError"),
        (pickled, "model.safetensors is not a safetensors file"),
    ],
)
def test_one_that_is_not_whole_is_passed_over(three, tmp_path, capsys, monkeypatch, damage, reason):
    monkeypatch.setenv("TRAP", str(tmp_path / "sprung"))
    assert three.newest() == three.path(3)
    damage(three.path(3))
    assert three.newest() == three.path(2)
    told = capsys.readouterr().err
    assert reason in told
    assert "step_00000003: damaged" in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "sprung").exists()
    assert three.steps() == [1, 2, 3]  # it is not deleted


def test_a_pickle_beside_the_files_is_never_opened(three, tmp_path, monkeypatch):
    monkeypatch.setenv("TRAP", str(tmp_path / "sprung"))
    (three.path(3) / "mp_rank_00_model_states.pt").write_bytes(pickle.dumps(Trap()))
    engine = engine_of()
    restore(engine, three.newest(), ALONE)
    assert not (tmp_path / "sprung").exists()


def test_without_a_whole_one_there_is_none(three, capsys):
    for step in (1, 2, 3):
        flipped(three.path(step))
    assert three.newest() is None
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_a_full_disk_keeps_what_is_there(three, capsys, monkeypatch):
    def full(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("diffmae_video.training.hashed_files.os.fsync", full)
    before = {path: sha256(path) for path in three.folder.rglob("*.*") if path.is_file()}
    assert not three.save(engine_of(), Progress(step=4))
    told = capsys.readouterr().err
    assert "step 4 could not be written" in told
    assert "the checkpoint of step 3 is kept" in told
    assert "No space left on device" in told
    assert len(told.splitlines()) == 1
    assert {path: sha256(path) for path in three.folder.rglob("*") if path.is_file()} == before


def test_a_folder_that_cannot_be_written_costs_a_line(tmp_path, capsys):
    (tmp_path / "checkpoints").write_text("")  # root may write into any folder: here is none
    engine = engine_of()
    capsys.readouterr()  # the first engine of a process may print a warning of torch
    assert not Checkpoints(tmp_path / "checkpoints", 3, ALONE).save(engine, Progress(step=4))
    told = capsys.readouterr().err
    assert "there is no earlier one" in told
    assert len(told.splitlines()) == 1


def test_the_newest_and_the_best_stay(three):
    engine = engine_of()
    three.keep = 2
    (three.folder / ".step_00000004.tmp").mkdir()  # of a kill in mid-write
    three.save(engine, Progress(step=4, best_step=1, best_cost=1.0))
    assert three.steps() == [1, 3, 4]
    three.save(engine, Progress(step=5, best_step=1, best_cost=1.0))
    assert three.steps() == [1, 4, 5]
    assert not list(three.folder.glob(".*"))


def test_one_that_is_not_whole_does_not_push_out_whole_ones(three):
    flipped(three.path(3))
    three.keep = 1
    state = restore(engine := engine_of(), three.newest(), ALONE)
    assert state.step == 2
    three.save(engine, Progress(step=2))  # say, told to stop at once
    assert three.newest() == three.path(2)
    three.save(engine, Progress(step=3))  # takes the place of the damaged one
    assert three.newest() == three.path(3)


def test_another_model_is_one_clear_error(three):
    with pytest.raises(InputError, match=r"recipe's: encoder\.cls_token is \[1, 1, 32\] instead of None"):
        load_model_weights(tiny_diffmae(), three.newest(), ALONE)
    heads = tiny_diffmae(encoder={"class_token": True, "heads": 1})  # of the same shapes
    with pytest.raises(InputError, match=r"encoder\.heads is 2 instead of 1; .* --init"):
        load_model_weights(heads, three.newest(), ALONE)
    load_model_weights(tiny_diffmae(encoder={"class_token": True, "drop_path": 0.3}), three.newest(), ALONE)
    with pytest.raises(InputError, match=r"has no ema\.safetensors; set TRAIN\.EMA 0"):
        restore(engine_of(0, "fp32", None, *AVERAGED), three.newest(), ALONE)


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path, monkeypatch):
    """What is written is the model of the step that asked for it, and it is there when the wait is over."""
    engine, state = engine_of(), Progress(step=1)
    train_step(engine, 0)
    expected = {key: dict(gather(engine, key)) for key in (WEIGHT, *MOMENTS)}
    may_write = threading.Event()
    write = Checkpoints.write
    monkeypatch.setattr(Checkpoints, "write", lambda *x: may_write.wait(60) and write(*x))
    checkpoints = Checkpoints(tmp_path, 3, ALONE)
    checkpoints.start_save(engine, state)
    train_step(engine, 1)
    state.step, state.best_step = 2, 2
    assert checkpoints.steps() == []
    may_write.set()
    assert checkpoints.finish_save()
    assert checkpoints.newest() == checkpoints.path(1)
    assert read_progress(checkpoints.path(1)) == Progress(step=1, adam_steps=1)
    for key, values in expected.items():
        for name, value in load_file(checkpoints.path(1) / file_of(key)).items():
            assert torch.equal(value, values[name]), (key, name)
