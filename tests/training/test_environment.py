"""environment.json: versions, devices and commands, checked against the tools that know them."""

import json
import os
import shlex
import subprocess
import sys
from importlib.metadata import version

import torch

from diffmae_video.runtime.processes import Process
from diffmae_video.training.environment import git_commit, record_environment

ALONE = Process(rank=0, world=1, device=torch.device("cpu"))


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
