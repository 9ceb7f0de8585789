"""What a run records, read back by TensorBoard itself and by git."""

import json
import os
import shlex
import signal
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest
import torch
from PIL import Image

from diffmae_video.runtime.processes import Process
from diffmae_video.training.records import Records, git_commit, record_environment

ALONE = Process(rank=0, world=1, device=torch.device("cpu"))


def read_back(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    return events.Reload()


def curve(events, tag):
    return [(point.step, pytest.approx(point.value)) for point in events.Scalars(tag)]


def test_curves_and_pictures_come_back(tmp_path):
    records = Records(tmp_path)
    rows = [{"step": s, "loss": 1 / s, "lr": 1e-3, "grad_norm": None, "batch": ["a"]} for s in (1, 2, 3)]
    records.rows(rows)
    records.validation(3, {"loss": 0.5, "loss_t0": 0.25, "knn": 0.75})
    picture = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    records.picture(3, picture)
    events = read_back(tmp_path)  # before close: a killed run has it too
    assert sorted(events.Tags()["scalars"]) == [
        *("train/loss", "train/lr", "validation/knn", "validation/loss", "validation/loss_t0"),
    ]
    assert curve(events, "train/loss") == [(1, 1), (2, 1 / 2), (3, 1 / 3)]
    assert curve(events, "validation/loss_t0") == [(3, 0.25)]
    (shown,) = events.Images("validation/inpainting")
    (tmp_path / "shown.png").write_bytes(shown.encoded_image_string)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "shown.png")), picture)
    records.close()


def test_a_killed_run_has_lost_nothing_that_was_handed_over(tmp_path):
    child = os.fork()
    if child == 0:
        Records(tmp_path).rows([{"step": s, "loss": 1.0} for s in range(1, 1001)])
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert len(curve(read_back(tmp_path), "train/loss")) == 1000


@pytest.mark.parametrize("resumed_at", [4, None])  # None: killed before its first checkpoint
def test_a_resumed_run_replaces_the_steps_after_its_checkpoint(tmp_path, resumed_at):
    first = Records(tmp_path)
    first.rows([{"step": s, "loss": 1.0} for s in range(1, 8)])
    first.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    with file.open("r+b") as events:  # killed in the middle of a write
        events.truncate(file.stat().st_size - 3)
    # The order of files is by the second in their names.
    file.rename(file.with_name(file.name.replace("tfevents.", "tfevents.0")))
    second, done = Records(tmp_path, resumed_at), resumed_at or 0
    second.rows([{"step": s, "loss": 2.0} for s in range(done + 1, 7)])
    second.close()
    expected = [(s, 1 if s <= done else 2) for s in range(1, 7)]
    assert curve(read_back(tmp_path), "train/loss") == expected


def test_the_environment_names_versions_devices_and_command(tmp_path):
    record_environment(tmp_path, ALONE)
    record_environment(tmp_path, ALONE)  # a resumed run
    starts = json.loads((tmp_path / "environment.json").read_text())
    assert len(starts) == 2
    start = starts[1]
    for package in ("torch", "deepspeed", "timm", "numpy"):
        assert start["packages"][package] == version(package)
    assert start["python"] == ".".join(map(str, sys.version_info[:3]))
    assert shlex.split(start["command"]) == sys.orig_argv
    assert (start["processes"], start["hosts"]) == (1, 1)
    assert list(start["devices"].values()) == [[f"{cpu_name()}, {len(os.sched_getaffinity(0))} cores"]]


def test_devices_are_grouped_by_host_and_the_main_process_writes(tmp_path, monkeypatch):
    places = [("node1", "A"), ("node1", "A"), ("node2", "A"), ("node2", "B")]

    def gather(into, _):
        into[:] = places

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    record_environment(tmp_path, Process(1, 4, torch.device("cpu")))
    assert list(tmp_path.iterdir()) == []
    record_environment(tmp_path, Process(0, 4, torch.device("cpu")))
    (start,) = json.loads((tmp_path / "environment.json").read_text())
    assert start["devices"] == {"node1": ["A", "A"], "node2": ["A", "B"]}
    assert (start["processes"], start["hosts"]) == (4, 2)


def cpu_name():
    done = subprocess.run(["lscpu"], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("Model name")]
    return line.partition(":")[2].strip()


def test_the_commit_is_of_the_code_and_not_of_what_it_is_installed_in(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=n", "-c", "user.email=n@n"]
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    package, installed = tmp_path / "package", tmp_path / "site-packages"
    for folder in (package, installed):
        folder.mkdir()
        (folder / "code.py").write_text("1")
    assert git_commit(package) is None
    git("init", "-q")
    git("add", "package")
    git("commit", "-qm", "first")
    git("tag", "v1")
    assert git_commit(package) == git("rev-parse", "HEAD")
    assert git_commit(installed) is None
    (package / "code.py").write_text("2")
    assert git_commit(package) == git("rev-parse", "HEAD") + "-dirty"
