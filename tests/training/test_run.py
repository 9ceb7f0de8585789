"""A run's folder: what is refused, and which model counts as the best one."""

import pytest
import torch

from diffmae_video import InputError
from diffmae_video.runtime.processes import Process
from diffmae_video.training.run import Measured, Run

ALONE = Process(0, 1, torch.device("cpu"))


def test_a_folder_holds_one_run(tmp_path):
    assert Run.open(tmp_path, False, 3, ALONE).resumed_from is None
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(InputError, match="already holds a run; continue it with --resume"):
        Run.open(tmp_path, False, 3, ALONE)
    assert Run.open(tmp_path, True, 3, ALONE).resumed_from is None  # no checkpoint yet: it starts


@pytest.mark.parametrize(("is_saved", "expected"), [(True, (2, 0.5, 1.0)), (False, (1, 0.75, 0.9))])
def test_only_a_model_that_was_saved_counts_as_the_best_one(tmp_path, monkeypatch, is_saved, expected):
    run = Run.open(tmp_path, False, 3, ALONE)
    run.state.step, run.state.best_step, run.state.best_cost, run.state.best_loss = 2, 1, 0.75, 0.9
    written = []
    monkeypatch.setattr(run.checkpoints, "start_save", lambda _, state: written.append(state.best_step))
    monkeypatch.setattr(run.checkpoints, "finish_save", lambda: is_saved)
    assert run.is_best(Measured(0.5, 1.0))
    assert not run.is_best(Measured(0.75, 0.9))
    run.start_save(None, Measured(0.5, 1.0))
    assert written == [2], "the checkpoint itself names its step as the best one"
    assert run.is_best(Measured(0.6, 1.0)) is not is_saved
    assert (run.state.best_step, run.state.best_cost, run.state.best_loss) == expected
    assert run.saved_step == (2 if is_saved else 0)


def test_the_loss_decides_between_models_of_the_same_cost(tmp_path):
    run = Run.open(tmp_path, False, 3, ALONE)
    run.state.best_step, run.state.best_cost, run.state.best_loss = 1, 0.5, 0.9
    assert run.is_best(Measured(0.5, 0.8))
    assert not run.is_best(Measured(0.5, 0.9)), "the first of equal ones stays"
    assert not run.is_best(Measured(0.6, 0.1)), "a higher cost loses whatever its loss"
    run.state.best_loss = None  # as in the checkpoints of earlier versions
    assert not run.is_best(Measured(0.5, 0.8))
