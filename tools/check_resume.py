"""Kills a training run again and again, and checks that it ends as if it had never been interrupted.

    python tools/check_resume.py                                    60 steps, 20 kills, ZeRO 0, 1, 2 and 3
    python tools/check_resume.py --stages 2 --steps 12 --kills 2    the short form that the tests run

At each ZeRO stage, two processes on CPUs train a small model on synthetic films, once without
interruption and once with `kill -9` at random moments, of all processes or of one, each followed by
--resume. A third of the kills land while a checkpoint is being written, as the unfinished files that
a killed process leaves behind confirm. The final weights, their moving average, AdamW's moments and the
losses of all steps must then be equal to the last bit.

Prints one JSON object per stage, and exits with 0 if all are equal, otherwise with 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from diffmae_video import InputError
from diffmae_video.cli import run_tool, tool_parser
from diffmae_video.runtime.processes import free_port
from diffmae_video.runtime.progress import ProgressBar

ROOT = Path(__file__).resolve().parent.parent
PROCESSES, EVERY = 2, 3
OPTIONS = {
    "MODEL.ENCODER.WIDTH": 128,
    "MODEL.DECODER.WIDTH": 128,
    "DATA.SIZE": 32,
    "DATA.NUM_FRAMES": 8,
    "DATA.STRIDE": 1,
    "DATA.WORKERS": 1,
    "TRAIN.PRECISION": "fp32",
    "TRAIN.BATCH_SIZE": 2,
    "TRAIN.LOG_EVERY": 1,
    "TRAIN.EMA": 0.9,
    "TRAIN.WARMUP_STEPS": 2,
    "CHECKPOINT.EVERY_STEPS": EVERY,
    "CHECKPOINT.EVERY_MINUTES": 0,
}
FILES = ("model", "ema")
STATES = ("exp_avg", "exp_avg_sq")


class Start:
    """One start of the run: its processes and their progress."""

    def __init__(self, videos: Path, output: Path, steps: int, stage: int) -> None:
        self.output = output
        output.mkdir(parents=True, exist_ok=True)
        self.log = output / "starts.log"
        self.offset = self.log.stat().st_size if self.log.exists() else 0
        self.began = time.time()
        options = {**OPTIONS, "DATA.TRAIN": videos, "TRAIN.MAX_STEPS": steps, "DEEPSPEED.ZERO_STAGE": stage}
        command = [sys.executable, str(ROOT / "tools/pretrain.py"), "--resume", "--output", str(output)]
        command += ["--config", str(ROOT / "configs/demo/pretrain.yaml")]
        command += [str(x) for pair in options.items() for x in pair]
        shared = {"WORLD_SIZE": str(PROCESSES), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        shared |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        with self.log.open("a") as log:
            self.processes = [
                subprocess.Popen(
                    command,
                    env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                    stdout=log,
                    stderr=log,
                )
                for rank in range(PROCESSES)
            ]

    def is_over(self) -> bool:
        return all(process.poll() is not None for process in self.processes)

    def step(self) -> int:
        """The last step in metrics.jsonl; 0 until this start has written to it."""
        path = self.output / "metrics.jsonl"
        if not path.exists() or path.stat().st_mtime < self.began:
            return 0
        lines = path.read_bytes().rpartition(b"\n")[0].splitlines()
        return json.loads(lines[-1])["step"] if lines else 0

    def is_saving(self) -> bool:
        """Whether a checkpoint of this start is half written."""
        for path in (self.output / "checkpoints").glob(".step_*.tmp"):
            with contextlib.suppress(FileNotFoundError):  # just renamed
                if path.stat().st_ctime > self.began:
                    return True
        return False

    def kill(self, processes: list[subprocess.Popen[bytes]]) -> None:
        """Kills processes and their workers, and waits until the others have ended too."""
        for process in processes:
            tree = [psutil.Process(process.pid)] if process.poll() is None else []
            for one in [*tree, *(child for parent in tree for child in parent.children(recursive=True))]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
        self.wait()

    def wait(self, seconds: float = 600) -> None:
        for process in self.processes:
            process.wait(seconds)

    def resumed_from(self) -> int:
        """The step that this start continued from; 0 if it began the run."""
        with self.log.open() as log:
            log.seek(self.offset)
            found = re.search(r"continues after step (\d+)", log.read())
        return int(found[1]) if found else 0


def make_films(folder: Path, chance: np.random.Generator) -> None:
    """Six short films of a square that drifts over noise."""
    from diffmae_video.encoding.clips import write_video

    for name in range(6):
        frames = chance.integers(0, 80, (24, 64, 64, 3), np.uint8)
        for i, frame in enumerate(frames):
            frame[name * 4 : name * 4 + 16, i : i + 16] = 40 * name + 50
        write_video(folder / f"{name}.mp4", frames, fps=12)


def killed_run(
    videos: Path, output: Path, steps: int, stage: int, kills: int, chance: random.Random
) -> dict[str, Any]:
    """Kills a run at random moments and resumes it each time; returns how often, and from which steps."""
    # Between the first and the last checkpoint, so that each resume has steps behind it and ahead of it.
    moments = sorted(chance.choices(range(EVERY + 1, steps - 2 * EVERY + 1), k=kills))
    in_save = set(chance.sample(range(kills), -(-kills // 3)))
    resumed, during_save, single = [], 0, 0
    for i, moment in enumerate(ProgressBar(moments, desc=f"stage {stage}", unit=" kills")):
        start = Start(videos, output, steps, stage)
        while not start.is_over() and start.step() < moment:
            time.sleep(0.002)
        if i in in_save:
            while not start.is_over() and not start.is_saving():
                time.sleep(0.0005)
        else:
            time.sleep(chance.uniform(0, 0.3))
        if start.is_over():
            tail = " ".join(start.log.read_text().splitlines()[-1:])
            raise InputError(f"a run ended before it could be killed: {tail} (see {start.log})")
        victims = start.processes if chance.random() < 0.5 else [chance.choice(start.processes)]
        if i in in_save:  # the main process writes checkpoints
            victims = start.processes if len(victims) > 1 else start.processes[:1]
        single += len(victims) == 1
        start.kill(victims)
        during_save += start.is_saving()
        if i:
            resumed.append(start.resumed_from())
    last = Start(videos, output, steps, stage)
    last.wait()
    resumed.append(last.resumed_from())
    return {"kills": kills, "during_save": during_save, "of_one_process": single, "resumed_from": resumed}


def are_equal(one: Path, two: Path, steps: int) -> bool:
    """Whether two runs have the same weights, averages and moments to the bit, and the same losses."""
    last = f"checkpoints/step_{steps:08d}"
    names = [f"{x}.safetensors" for x in FILES] + [f"{last}/{x}.safetensors" for x in (*FILES, *STATES)]
    same = all((one / name).read_bytes() == (two / name).read_bytes() for name in names)
    losses = [
        [
            (row["step"], row["loss"])
            for row in map(json.loads, (x / "metrics.jsonl").read_text().splitlines())
        ]
        for x in (one, two)
    ]
    return same and losses[0] == losses[1] and len(losses[0]) == steps


def main() -> int:
    parser = tool_parser(__doc__)
    parser.add_argument("--stages", type=int, nargs="+", default=[0, 1, 2, 3], metavar="N")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments of the kills")
    parser.add_argument("--output", type=Path, help="keep the runs here (default: a temporary folder)")
    args = parser.parse_args()
    if args.steps < 4 * EVERY or args.kills < 1:
        raise InputError(f"--steps must be {4 * EVERY} or more and --kills 1 or more")
    with tempfile.TemporaryDirectory() as temporary:
        return check(args, args.output or Path(temporary))


def check(args: argparse.Namespace, folder: Path) -> int:
    videos = folder / "videos"
    make_films(videos, np.random.default_rng(0))
    is_well = True
    for stage in args.stages:
        straight, killed = folder / f"straight_{stage}", folder / f"killed_{stage}"
        if straight.exists() or killed.exists():
            raise InputError(f"{folder}: already holds runs of an earlier check; give another --output")
        first = Start(videos, straight, args.steps, stage)
        first.wait()
        if any(process.returncode for process in first.processes):
            raise InputError(f"the uninterrupted run failed: {first.log.read_text().splitlines()[-1]}")
        chance = random.Random(1000 * args.seed + stage)
        report = killed_run(videos, killed, args.steps, stage, args.kills, chance)
        report = {"zero_stage": stage, "steps": args.steps, **report}
        report["equal"] = are_equal(straight, killed, args.steps)
        print(json.dumps(report), flush=True)
        is_well &= report["equal"] and report["during_save"] >= args.kills // 4
        is_well &= all(0 < step < args.steps for step in report["resumed_from"])
    return 0 if is_well else 1


if __name__ == "__main__":
    run_tool(main)
