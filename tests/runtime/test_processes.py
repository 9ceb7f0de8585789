"""Starting: beside other runs, and after a build that was killed."""

import fcntl
import subprocess
import sys

import pytest
import torch

from diffmae_video.errors import InputError
from diffmae_video.runtime.processes import Process, _build_extension, start_process
from tests.integration.runs import environment
from tests.training.engines import engine_of


@pytest.mark.skipif(torch.cuda.is_available(), reason="the extension is built on a CPU only")
def test_a_lock_that_a_killed_build_left_is_gone_before_the_next(tmp_path, monkeypatch):
    engine_of()  # DeepSpeed is there
    from deepspeed.accelerator import get_accelerator

    builder = type(get_accelerator().create_op_builder("ShareMemCommBuilder"))
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    left = tmp_path / builder.NAME / "lock"
    left.parent.mkdir()
    left.touch()
    seen = []

    def load(self, verbose):
        seen.append(left.exists())
        with (tmp_path / "builder.lock").open("w") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)  # another start would wait

    monkeypatch.setattr(builder, "load", load)
    _build_extension()
    assert seen == [False]


NESTED = """
import subprocess, sys
from diffmae_video.runtime.processes import start_process
start_process()
if sys.argv[1] == "outer":
    sys.exit(subprocess.run([sys.executable, "-c", sys.argv[2], "inner"]).returncode)
"""


def alone(**more):
    """The environment of a process that no launcher started."""
    launched = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    return {k: v for k, v in environment(**more).items() if k not in launched or k in more}


def test_a_run_started_from_a_running_one_does_not_want_its_port():
    arguments = [sys.executable, "-c", NESTED, "outer", NESTED]
    done = subprocess.run(arguments, env=alone(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_processes_that_were_not_told_where_to_meet_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_PORT", raising=False)
    with pytest.raises(InputError, match="WORLD_SIZE is 2, but MASTER_PORT is not set"):
        start_process()


def test_a_process_knows_its_memory():
    assert Process(0, 1, torch.device("cpu")).peak_mb() > 50
