"""The log of figures: every line is written at once, and an error costs one line."""

import json
import time

import torch

from diffmae_video.benchmarks.figure_log import FigureLog

CPU = torch.device("cpu")


def out_of_memory():
    raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")


def test_a_failed_figure_costs_one_line(tmp_path, capsys):
    log = FigureLog(tmp_path / "figures.jsonl")
    assert log.measure("train", CPU, out_of_memory, model="L") is None
    assert log.measure("train", CPU, lambda: {"ms": 1.5}, model="B")
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert lines == [
        {
            "what": "train",
            "model": "L",
            "error": "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB",
        },
        {"what": "train", "model": "B", "ms": 1.5},
    ]
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == lines


def test_nothing_starts_after_the_time_is_up(tmp_path):
    log = FigureLog(tmp_path / "figures.jsonl", until=time.time() - 1)
    assert log.measure("train", CPU, out_of_memory, model="L") is None
    assert "skipped" in log.path.read_text()
