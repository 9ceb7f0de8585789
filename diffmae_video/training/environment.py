"""Where a run was started, on what machines, and with which versions: environment.json."""

import json
import os
import platform
import shlex
import socket
import subprocess
import sys
from collections import defaultdict
from datetime import datetime, timezone
from importlib.metadata import distributions
from pathlib import Path

import torch
import torch.distributed as dist

from diffmae_video.files import write_text
from diffmae_video.runtime.processes import Process

ENVIRONMENT = "environment.json"


def record_environment(folder: str | Path, process: Process) -> None:
    """Adds this start to the list of starts in a run's ``environment.json``; all processes must call it.

    Records the time, the main process's command line, the commit, the devices of each host, and the version
    of every installed package.
    """
    own = socket.gethostname(), _device_name(process.device)
    devices_of_all = [own] * process.world
    if process.world > 1:
        dist.all_gather_object(devices_of_all, own)
    if not process.is_main:
        return
    hosts: dict[str, list[str]] = defaultdict(list)
    for host, device in devices_of_all:
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
    """The commit of the code in a folder, with ``-dirty`` where files differ from it.

    None without git, or where the folder does not belong to the repository around it, as with a package that
    is installed inside one.
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
