"""The warning that a run waits for its data."""

import warnings

import pytest
import torch

from diffmae_video.errors import InputWarning
from diffmae_video.training.curves import Curves
from diffmae_video.training.data_wait import DataWait
from diffmae_video.training.log import StepLog


def test_waiting_for_more_than_a_tenth_warns_once():
    wait = DataWait()
    wait.add(10, 5000, 5001)  # the first steps
    wait.add(50, 600, 5000)
    with pytest.warns(InputWarning, match="12% of the time of the last 100 steps went by waiting for data"):
        wait.add(50, 600, 5000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(10):
            wait.add(50, 600, 5000)


def test_waiting_for_less_does_not():
    wait = DataWait()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wait.add(10, 5000, 5001)
        for _ in range(10):
            wait.add(50, 400, 5000)


def test_a_log_counts_its_steps(tmp_path):
    with StepLog(tmp_path / "metrics.jsonl", 200, 0, 10, Curves(tmp_path, None)) as log:
        for step in range(109):
            log.step(step=step, loss=torch.ones(()), lr=0.1, data_ms=5.0, step_ms=10.0)
        with pytest.warns(InputWarning, match="50% of the time of the last 100 steps"):
            log.step(step=109, loss=torch.ones(()), lr=0.1, data_ms=5.0, step_ms=10.0)
