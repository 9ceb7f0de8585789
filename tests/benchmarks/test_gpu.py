"""All figures of a device: what a hanging or dying section costs, and one section in full."""

import json
import multiprocessing
import os
import time

import pytest
import torch

from diffmae_video.benchmarks import gpu
from diffmae_video.benchmarks.figure_log import FigureLog
from diffmae_video.benchmarks.gpu import Bench, _follow, engine
from tests.benchmarks.tiny import TINY


def report(sender, names, ending):
    for name in names:
        sender.send(name)
    if ending == "dies":
        os._exit(3)
    if ending == "hangs":
        time.sleep(60)
    sender.send("")


@pytest.mark.parametrize(
    ("ending", "problem", "left"),
    [
        ("finishes", None, ["loader"]),  # as when the time is up
        ("dies", "the process ended", ["loader"]),
        ("hangs", "no answer", ["loader"]),
    ],
)
def test_a_section_that_fails_leaves_the_rest(monkeypatch, ending, problem, left):
    monkeypatch.setattr(gpu, "GRACE", 0.5)
    monkeypatch.setattr(gpu, "SECTIONS", dict.fromkeys(("machine", "engine", "loader"), (None, 0.5)))
    names = ["machine", "engine"]
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    worker = context.Process(target=report, args=(sender, names, ending))
    worker.start()
    sender.close()
    found, remaining = _follow(receiver, ["machine", "engine", "loader"], time.time() + 60)
    worker.kill()
    assert remaining == left
    assert found is None if problem is None else (found["name"] == "engine" and problem in found["error"])


def test_a_worker_that_cannot_start_ends_the_measurement():
    receiver, sender = multiprocessing.Pipe(duplex=False)
    sender.close()
    problem, remaining = _follow(receiver, ["machine", "engine"], time.time() + 60)
    assert problem["name"] == "start"
    assert remaining == []


def test_the_engine_section_measures_a_run_s_step(tmp_path):
    log = FigureLog(tmp_path / "figures.jsonl")
    engine(Bench([*TINY, "TRAIN.PRECISION", "bf16"], [], torch.device("cpu"), log))
    figures = {line["what"]: line for line in map(json.loads, log.path.read_text().splitlines())}
    assert set(figures) == {"phases", "counts", "checkpoint", "profile", "kernel"}
    assert not any("error" in line for line in figures.values()), figures
    assert figures["phases"]["batch"] == 4
    assert figures["counts"]["operations_in_step"] > figures["counts"]["operations_in_update"] > 10
    assert figures["counts"]["reads_in_update"] <= 2
    assert figures["checkpoint"]["saved"]
