"""The Slurm script, with stand-ins for Slurm's commands and for Python."""

import os
import subprocess

import pytest

from tests.repository import ROOT

SCRIPT = ROOT / "configs/slurm/pretrain.sbatch"


@pytest.fixture
def submit(tmp_path):
    """Runs the script once: srun ends with a code, and the dry run with another; the output and commands."""
    commands = tmp_path / "commands"

    def program(path, body):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/bash\necho "$(basename $0) $*" >> {commands}\n{body}\n')
        path.chmod(0o755)

    def run(code, dry_run=0):
        commands.unlink(missing_ok=True)
        program(tmp_path / ".venv/bin/python", f"exit {dry_run}")
        program(
            tmp_path / "bin/srun",
            f'echo "cpus $SRUN_CPUS_PER_TASK world $WORLD_SIZE at $MASTER_ADDR:$MASTER_PORT" >> {commands}\n'
            f"exit {code}",
        )
        program(tmp_path / "bin/scontrol", "[ $1 = show ] && printf 'node1\\nnode2\\n'")
        variables = {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NODELIST": "node[1-2]",
            "SLURM_NTASKS": "16",
            "SLURM_CPUS_PER_TASK": "12",
        }
        done = subprocess.run(
            ["bash", SCRIPT, "--config", "a.yaml", "DATA.TRAIN", "b c.csv"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=variables,
            check=False,
        )
        return done, commands.read_text()

    return run


def test_it_starts_bound_processes_that_find_each_other(submit):
    done, commands = submit(0)
    assert done.returncode == 0
    assert "--cpu-bind=cores" in commands
    assert "pretrain --config a.yaml DATA.TRAIN b c.csv" in commands
    assert "cpus 12 world 16 at node1:20007" in commands
    assert "requeue" not in commands


@pytest.mark.parametrize("code", [1, 75, 134, 137, 139, 143])
def test_a_stopped_or_failed_run_is_queued_again(submit, code):
    done, commands = submit(code)
    assert done.returncode == code
    assert "scontrol requeue 7" in commands


def test_wrong_input_is_not_queued_again(submit):
    assert "requeue" not in submit(2)[1]
    done, commands = submit(143, dry_run=2)  # srun would report the processes that it killed
    assert done.returncode == 2
    assert "srun" not in commands
    assert "requeue" not in commands


def test_it_gives_up_after_three_failures_in_a_row(submit):
    assert all("requeue" in submit(134)[1] for _ in range(3))
    assert "requeue" in submit(75)[1]  # a run that could save has not failed
    assert all("requeue" in submit(134)[1] for _ in range(3))
    done, commands = submit(134)
    assert "requeue" not in commands
    assert "failed more than 3 times in a row" in done.stderr
