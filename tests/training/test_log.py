"""metrics.jsonl: one line a step, cut off where a run resumes, and absent if no step was taken."""

import json

import pytest
import torch

from diffmae_video.runtime.processes import Process
from diffmae_video.training.curves import Curves
from diffmae_video.training.log import StepLog, forget_after
from diffmae_video.training.run import METRICS, Run

ALONE = Process(rank=0, world=1, device=torch.device("cpu"))


def take_steps(folder, count, error=None, every=3):
    with StepLog(folder / METRICS, 10, 0, every, 4, Curves(folder, None)) as log:
        for step in range(1, count + 1):
            log.step(torch.tensor(0.5 * step), step=step, lr=1e-3)
        if error is not None:
            raise error


def test_lines_are_complete_after_an_error(tmp_path):
    with pytest.raises(OSError, match="a cable"):
        take_steps(tmp_path, 5, OSError("a cable"))
    rows = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert [(row["step"], row["loss"]) for row in rows] == [(i, 0.5 * i) for i in range(1, 6)]
    forget_after(tmp_path / METRICS, 3)
    assert len((tmp_path / METRICS).read_text().splitlines()) == 3


@pytest.mark.parametrize("steps", [0, 1])
def test_a_start_that_failed_before_its_first_step_leaves_the_folder_free(tmp_path, steps):
    with pytest.raises(OSError, match="unplugged"):
        take_steps(tmp_path, steps, OSError("unplugged"))
    assert (tmp_path / METRICS).exists() == bool(steps)
    if steps:
        with pytest.raises(ValueError, match="already holds a run"):
            Run.open(tmp_path, False, 1, ALONE)
    else:
        assert Run.open(tmp_path, False, 1, ALONE).resumed_from is None


def test_the_log_of_another_process_is_not_removed(tmp_path):
    path = tmp_path / "null"
    path.touch()
    with pytest.raises(OSError, match="unplugged"), StepLog(path, 10, 0, 1, 4, None):
        raise OSError("unplugged")
    assert path.exists()
