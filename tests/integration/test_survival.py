"""Runs that are stopped, killed, starved or poisoned, and go on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch

from diffmae_video import load_model
from diffmae_video.data.loader import EpochSampler
from diffmae_video.runtime.processes import free_port
from tests.integration.runs import (
    checkpoint,
    command,
    environment,
    finish,
    losses,
    rows,
    run,
    start,
    tensors,
    wait_for_step,
)
from tests.repository import ROOT


@pytest.mark.slow
def test_kill_9_and_resume_is_the_same_run():
    """The short form of what tools/check_resume.py does; the long one is 60 steps and 20 kills a stage."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools/check_resume.py", *["--stages", "3", "--steps", "14", "--kills", "2"]],
        capture_output=True,
        text=True,
        timeout=570,
        env=environment(),
    )
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["equal"]
    assert told["during_save"] >= 1
    assert all(0 < step < 14 for step in told["resumed_from"])
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_told_to_stop_it_saves_and_goes_on(tmp_path, films):
    """The signal goes to one process of two with its readers, as a scheduler sends it; both must stop."""
    options = ("TRAIN.MAX_STEPS", 10000, "CHECKPOINT.EVERY_STEPS", 0)
    processes = start(2, films, tmp_path, *options)
    wait_for_step(tmp_path, 3, processes)
    for one in [processes[1], *psutil.Process(processes[1].pid).children(recursive=True)]:
        one.send_signal(signal.SIGTERM)
    codes, _, err = finish(processes)
    assert codes == [75, 75]
    done = rows(tmp_path)[-1]["step"]
    assert err.strip() == f"stopped by a signal; step {done} is saved, continue with --resume"
    assert checkpoint(tmp_path, done).is_dir()
    out = run(2, films, tmp_path, "--resume", "TRAIN.MAX_STEPS", done + 2)
    assert f"continues after step {done}, from" in out
    assert [row["step"] for row in rows(tmp_path)] == list(range(1, done + 3))


@pytest.mark.slow
def test_a_dead_process_ends_the_others_with_a_message(tmp_path, films):
    by_time = ("CHECKPOINT.EVERY_STEPS", 0, "CHECKPOINT.EVERY_MINUTES", 0.01)
    processes = start(2, films, tmp_path, "TRAIN.MAX_STEPS", 10000, *by_time)
    wait_for_step(tmp_path, 2, processes)
    while not list(tmp_path.glob("checkpoints/step_*")):
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)
    processes[1].kill()
    began = time.monotonic()
    _, err = processes[0].communicate(timeout=300)
    assert time.monotonic() - began < 30
    assert processes[0].returncode == 1
    assert "process 0 of 2 has lost another one" in err
    assert "--resume" in err
    assert "Traceback" not in err
    processes[1].communicate(timeout=300)  # what its readers say of their dead parent is theirs


@pytest.mark.slow
def test_a_process_that_hangs_ends_the_others_in_time(tmp_path, films):
    processes = start(2, films, tmp_path, "TRAIN.MAX_STEPS", 10000, "TRAIN.PATIENCE", 0.4)
    wait_for_step(tmp_path, 2, processes)
    processes[1].send_signal(signal.SIGSTOP)
    try:
        assert processes[0].wait(240) == 1
    finally:
        processes[1].kill()
    _, err = processes[0].communicate(timeout=300)
    assert "process 0 of 2 has lost another one" in err
    assert "Traceback" not in err
    processes[1].communicate(timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_steps_that_are_not_finite_are_skipped_and_end_it(tmp_path, films, ranks):
    """Such a rate ruins the model in its first step."""
    options = ["TRAIN.BASE_LR", 1e33, "TRAIN.MAX_STEPS", 20, "TRAIN.MAX_BAD_STEPS", 3]
    options += ["TRAIN.BATCH_SIZE", 2 // ranks]
    options += ["TRAIN.PRECISION", "bf16", "DEEPSPEED.ZERO_STAGE", 2, "CHECKPOINT.EVERY_STEPS", 1]
    options += ["CHECKPOINT.KEEP", 1]
    codes, _, err = finish(start(ranks, films, tmp_path, *options))
    assert codes == [1] * ranks
    assert "step 4 is the last of 3 in a row whose loss or gradient is not finite" in err
    assert len(err.strip().splitlines()) == 1
    skipped = [row["step"] for row in rows(tmp_path) if row.get("skipped")]
    assert skipped == [2, 3, 4]
    bad = rows(tmp_path, "bad_steps.jsonl")
    assert [row["step"] for row in bad] == skipped
    # Two films a step, over all ranks: the third step reads the last two of the first epoch.
    stream = [[key.epoch, key.row] for key, _ in zip(EpochSampler(6, 0), range(8), strict=False)]
    assert [sample for row in bad for sample in row["samples"]] == stream[2:]
    assert [epoch for epoch, _ in stream] == [0] * 6 + [1] * 2
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_00000001"]


@pytest.mark.slow
def test_other_numbers_of_processes_and_stages_go_on(tmp_path, films):
    """2 -> 1 -> 2 processes at stages 2 -> 0 -> 3 on equal batches, with a broken checkpoint on the way."""
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    steps = ("TRAIN.MAX_STEPS", 6, "CHECKPOINT.EVERY_STEPS", 2, "CHECKPOINT.KEEP", 9)
    run(1, films, straight, *steps, "TRAIN.BATCH_SIZE", 2)

    def keep_only(step):
        for later in (2, 4, 6):
            if later > step:
                shutil.rmtree(checkpoint(broken, later))

    run(2, films, broken, *steps, "TRAIN.BATCH_SIZE", 1, "DEEPSPEED.ZERO_STAGE", 2)
    keep_only(2)
    at_2 = tensors(checkpoint(broken, 2))
    out = run(1, films, broken, "--resume", *steps, "TRAIN.BATCH_SIZE", 2, "DEEPSPEED.ZERO_STAGE", 0)
    assert "continues after step 2" in out
    keep_only(4)
    os.truncate(checkpoint(broken, 4) / "exp_avg.safetensors", 1000)
    codes, out, err = finish(
        start(2, films, broken, "--resume", *steps, "TRAIN.BATCH_SIZE", 1, "DEEPSPEED.ZERO_STAGE", 3)
    )
    assert codes == [0, 0], err
    assert "step_00000004: damaged (exp_avg.safetensors has 1000 bytes" in err
    assert "continues after step 2" in out
    assert losses(broken) == pytest.approx(losses(straight), rel=1e-4)
    for name, values in tensors(checkpoint(straight, 2)).items():
        for key, value in values.items():
            if not key.endswith("kv.bias"):
                torch.testing.assert_close(at_2[name][key], value, atol=2e-4, rtol=1e-2, msg=f"{name} {key}")
    ours, theirs = tensors(checkpoint(broken, 6)), tensors(checkpoint(straight, 6))
    for name, values in theirs.items():
        for key, value in values.items():
            if not key.endswith("kv.bias"):
                torch.testing.assert_close(ours[name][key], value, atol=2e-3, rtol=5e-2, msg=f"{name} {key}")


@pytest.mark.slow
def test_two_nodes_of_one_process_are_one_run(tmp_path, films):
    """Two launchers and one meeting place, as on two machines."""
    port = free_port()
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1"]
    launcher += ["--master_addr", "127.0.0.1", "--master_port", str(port)]
    options = ("TRAIN.MAX_STEPS", 3, "TRAIN.BATCH_SIZE", 1)
    nodes = [
        subprocess.Popen(
            [*launcher, "--node_rank", str(node), *command(films, tmp_path, *options)],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for node in range(2)
    ]
    codes, out, err = finish(nodes)
    assert codes == [0, 0], err
    assert "fp32 on 2 x cpu; 3 steps of 2 videos" in out
    load_model(tmp_path)
    assert len(losses(tmp_path)) == 3
