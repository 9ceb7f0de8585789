"""Runs of tools/pretrain.py on made-up films, for tests: their processes, started without a launcher."""

import json
import os
import subprocess
import sys
import time

from safetensors.torch import load_file

from diffmae_video.runtime.processes import free_port
from tests.calls import diffmae
from tests.repository import ROOT

CONFIG = str(ROOT / "configs/demo/pretrain.yaml")
TINY = [
    *("DATA.SIZE", 32, "DATA.NUM_FRAMES", 4, "DATA.STRIDE", 1, "DATA.WORKERS", 1, "DATA.REPEATS", 2),
    *("MODEL.ENCODER.WIDTH", 64, "MODEL.ENCODER.DEPTH", 2, "MODEL.DECODER.WIDTH", 64),
    *("MODEL.DECODER.DEPTH", 1, "TRAIN.WARMUP_STEPS", 1, "TRAIN.PRECISION", "fp32", "TRAIN.LOG_EVERY", 1),
]


def command(films, output, *options):
    """The arguments after the launcher."""
    fixed = [str(ROOT / "tools/pretrain.py"), "--config", CONFIG, "--output", str(output)]
    flags = [x for x in options if str(x).startswith("--")]
    pairs = [x for x in options if not str(x).startswith("--")]
    return [str(x) for x in [*fixed, *flags, "DATA.TRAIN", films, *TINY, *pairs]]


def environment(**more):
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | {
        k: str(v) for k, v in more.items()
    }


def start(ranks, films, output, *options):
    """The run's processes, one for each rank."""
    shared = {"WORLD_SIZE": ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    return [
        subprocess.Popen(
            [sys.executable, *command(films, output, *options)],
            env=environment(**shared, RANK=rank, LOCAL_RANK=rank),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]


def finish(processes):
    """Waits for processes: their exit codes, and what the first one wrote to stdout and all to stderr."""
    outputs = [process.communicate(timeout=300) for process in processes]
    return [p.returncode for p in processes], outputs[0][0], "".join(error for _, error in outputs)


def run(ranks, films, output, *options):
    """A whole run, which must not fail; what it printed. A run of one process is made in this one."""
    if ranks == 1:
        done = diffmae("pretrain", *command(films, output, *options)[1:])
        assert done.returncode == 0, done.stderr
        return done.stdout
    codes, out, err = finish(start(ranks, films, output, *options))
    assert codes == [0] * ranks, err
    return out


def rows(output, name="metrics.jsonl"):
    path = output / name
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return [json.loads(line) for line in whole.splitlines()]


def losses(output):
    return [row["loss"] for row in rows(output)]


def wait_for_step(output, step, processes):
    while not any(row["step"] >= step for row in rows(output)):
        assert all(p.poll() is None for p in processes), "".join(p.stderr.read() for p in processes)
        time.sleep(0.02)


def checkpoint(output, step):
    return output / "checkpoints" / f"step_{step:08d}"


def tensors(folder):
    return {path.name: load_file(path) for path in folder.glob("*.safetensors")}
