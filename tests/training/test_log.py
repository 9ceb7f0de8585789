"""metrics.jsonl: its lines, and what a resumed run cuts off."""

import json
import math

import pytest
import torch

from diffmae_video.training.curves import Curves
from diffmae_video.training.log import StepLog, forget_after


def test_losses_are_read_every_few_steps_and_nan_is_null(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with StepLog(path, 5, 0, 2, None) as log:
        log.step(torch.tensor(0.5), step=1, lr=1e-3)
        assert path.read_text() == ""
        log.step(torch.tensor(math.nan), step=2, lr=1e-3)
        assert [json.loads(line)["loss"] for line in path.read_text().splitlines()] == [0.5, None]
        log.step(torch.tensor(0.25), step=3, lr=1e-3)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3]


def test_the_bar_counts_steps_and_shows_the_rate_in_clips(tmp_path):
    with StepLog(tmp_path / "metrics.jsonl", 5, 1, 2, Curves(tmp_path, None)) as log:
        for step, rate in ((2, 3.0), (3, 6.0)):
            log.step(torch.tensor(0.5), step=step, lr=1e-3, clips_per_s=rate)
        assert "3 of 5 steps" in str(log.bar)
        assert "loss=0.5000, lr=1.0e-03, clips/s=4" in str(log.bar)  # 2 clips in 1/3 + 1/6 of a second


@pytest.mark.parametrize(
    "tail", ['{"step": 3, "loss": 1.0}\n{"step": 4}\n', '{"step": 3, "lo', '{"step": 2}']
)
def test_lines_of_lost_work_are_cut_off(tmp_path, tail):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n' + tail)
    forget_after(path, 2)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
    forget_after(tmp_path / "none", 2)
