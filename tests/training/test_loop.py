"""A run that is told to stop in the middle of a step."""

import os
import signal
from unittest.mock import patch

import pytest

from diffmae_video import load_config
from diffmae_video.runtime.processes import Process
from diffmae_video.runtime.stops import STOPPED, RunEnded
from diffmae_video.training.loop import warmed_up_decay
from diffmae_video.training.pretrain import pretrain
from diffmae_video.training.pretraining_loss import PretrainingLoss
from tests.integration.runs import CONFIG, TINY, checkpoint, losses, rows, tensors

PASSES = 4  # of a step
OPTIONS = [
    *TINY,
    "TRAIN.ACCUMULATION",
    PASSES,
    "TRAIN.BATCH_SIZE",
    1,
    "TRAIN.MAX_STEPS",
    3,
    "DATA.WORKERS",
    0,
]


@pytest.fixture
def train(films, monkeypatch):
    """Pre-trains in this process, which gets SIGTERM in a forward pass that is counted from 1."""
    loss = PretrainingLoss.__call__

    def run(output, resume=False, stop_in_pass=None):
        passes = []

        def count(*arguments):
            passes.append(len(passes) + 1)
            if passes[-1] == stop_in_pass:
                os.kill(os.getpid(), signal.SIGTERM)
            return loss(*arguments)

        monkeypatch.setattr(PretrainingLoss, "__call__", count)
        with patch.dict(os.environ):
            pretrain(load_config(CONFIG, ["DATA.TRAIN", films, *OPTIONS]), output, resume)
        return passes

    return run


@pytest.mark.parametrize(("stop_in_pass", "step"), [(2, 0), (PASSES, 1), (PASSES + 2, 1)])
def test_it_stops_after_the_pass_and_goes_on_as_if_it_had_not(tmp_path, train, capsys, stop_in_pass, step):
    assert len(train(tmp_path / "whole")) == 3 * PASSES
    with pytest.raises(RunEnded) as ended:
        train(tmp_path / "stopped", stop_in_pass=stop_in_pass)
    assert ended.value.code == STOPPED
    said = capsys.readouterr().err.splitlines()[-1]
    saved = f"step {step}" if step else "no step"
    assert said == f"stopped by a signal; {saved} is saved, continue with --resume"
    assert len(rows(tmp_path / "stopped")) == step
    assert checkpoint(tmp_path / "stopped", 1).exists() == bool(step)
    assert len(train(tmp_path / "stopped", resume=True)) == (3 - step) * PASSES
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")
    one, other = (tensors(tmp_path / name)["model.safetensors"] for name in ("stopped", "whole"))
    assert one.keys() == other.keys()
    assert all(one[name].equal(other[name]) for name in one)


def test_the_average_forgets_the_first_steps_of_a_short_run():
    weights = [0.0, *[1.0] * 20]  # the first step's, and those of later ones
    average = weights[0]
    for step, weight in enumerate(weights[1:]):
        average += (1 - warmed_up_decay(0.9999, step)) * (weight - average)
    assert average > 0.999
    assert warmed_up_decay(0.9999, 10**6) == 0.9999
    assert warmed_up_decay(0.0, 10) == 0


def test_memory_statistics_are_read_when_lines_are_written(tmp_path, films, monkeypatch):
    reads = []
    monkeypatch.setattr(Process, "peak_mb", lambda self: reads.append(1) or 100 * len(reads))
    options = ["TRAIN.MAX_STEPS", 4, "TRAIN.LOG_EVERY", 3, "TRAIN.ACCUMULATION", 1]
    with patch.dict(os.environ):
        pretrain(load_config(CONFIG, ["DATA.TRAIN", films, *OPTIONS, *options]), tmp_path)
    assert [row["memory_mb"] for row in rows(tmp_path)] == [100, 100, 200, 200]
