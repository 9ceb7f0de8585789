"""What a run leaves beside its metrics and weights: where it ran, and curves for TensorBoard."""

from __future__ import annotations

import json
import os
import platform
import shlex
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from diffmae_video.errors import require
from diffmae_video.files import write_text
from diffmae_video.runtime.processes import Process

ENVIRONMENT = "environment.json"
CURVES = "tensorboard"


def record_environment(folder: str | Path, process: Process) -> None:
    """Adds this start to a run's ``environment.json``, a list of its starts; all processes must call it.

    A start has its time, the command line of the main process, the commit, the devices by host, and the
    versions of all that is installed.
    """
    place = socket.gethostname(), _device_name(process.device)
    places = [place] * process.world
    if process.world > 1:
        dist.all_gather_object(places, place)
    if not process.is_main:
        return
    hosts: dict[str, list[str]] = defaultdict(list)
    for host, device in places:
        hosts[host].append(device)
    start = {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(sys.orig_argv),
        "folder": str(Path.cwd()),
        "commit": git_commit(Path(__file__).parent),
        "processes": process.world,
        "hosts": len(hosts),
        "devices": hosts,
        "system": platform.platform(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "packages": dict(sorted((d.name, d.version) for d in distributions())),
    }
    path = Path(folder) / ENVIRONMENT
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    write_text(path, json.dumps([*earlier, start], indent=2) + "\n")


def git_commit(folder: Path) -> str | None:
    """The commit that the code in a folder is at, with ``-dirty`` where files differ from it.

    None without git, or where the folder is none of its repository's own (an installed package below one).
    """

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
        return done.stdout.strip()

    try:
        if not git("ls-files", "."):
            return None
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), name)
    return f"{name}, {cores} cores"


class Records:
    """Writes a run's curves and pictures for TensorBoard; for the main process.

    What is handed over is on disk when a call returns, so that a killed run has lost none of it.

    Args:
        folder: of the run.
        resumed_at: the step that a resumed run goes on from; what the folder holds of later steps no longer
            counts. None for a run from its beginning.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """

    def __init__(self, folder: str | Path, resumed_at: int | None = None) -> None:
        require("tensorboard", "train")
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(Path(folder) / CURVES, purge_step=(resumed_at or 0) + 1)

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Lines of metrics.jsonl: each number but ``step`` becomes a point of ``train/<name>``."""
        for row in rows:
            for name, value in row.items():
                if name != "step" and isinstance(value, (int, float)):
                    self.writer.add_scalar(f"train/{name}", value, row["step"])
        self.writer.flush()

    def validation(self, step: int, figures: Mapping[str, float]) -> None:
        """What was measured on held-out clips after a step, as ``validation/<name>``."""
        for name, value in figures.items():
            self.writer.add_scalar(f"validation/{name}", value, step)
        self.writer.flush()

    def picture(self, step: int, image: np.ndarray) -> None:
        """A picture after a step, uint8 [h, w, 3]."""
        self.writer.add_image("validation/inpainting", image, step, dataformats="HWC")
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()
