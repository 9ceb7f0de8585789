"""A run's folder: what is refused, and which model counts as the best one."""

import pytest
import torch

from diffmae_video import InputError
from diffmae_video.runtime.processes import Process
from diffmae_video.training.run import Run

ALONE = Process(0, 1, torch.device("cpu"))


def test_a_folder_holds_one_run(tmp_path):
    assert Run.open(tmp_path, False, 3, ALONE).resumed_from is None
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(InputError, match="already holds a run; continue it with --resume"):
        Run.open(tmp_path, False, 3, ALONE)
    assert Run.open(tmp_path, True, 3, ALONE).resumed_from is None  # no checkpoint yet: it starts


@pytest.mark.parametrize(("is_saved", "expected"), [(True, (2, 0.5)), (False, (1, 0.75))])
def test_only_a_model_that_was_saved_counts_as_the_best_one(tmp_path, monkeypatch, is_saved, expected):
    run = Run.open(tmp_path, False, 3, ALONE)
    run.state.step, run.state.best_step, run.state.best_cost = 2, 1, 0.75
    written = []
    monkeypatch.setattr(run.checkpoints, "start_save", lambda _, state: written.append(state.best_step))
    monkeypatch.setattr(run.checkpoints, "finish_save", lambda: is_saved)
    assert run.is_best(0.5)
    assert not run.is_best(0.75)
    run.start_save(None, 0.5)
    assert written == [2], "the checkpoint itself names its step as the best one"
    assert run.is_best(0.6) is not is_saved
    assert (run.state.best_step, run.state.best_cost) == expected
    assert run.saved_step == (2 if is_saved else 0)
