"""The CPUs that a process may use, and the number of processes that read videos for it."""

import os
import socket
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist

AUTOMATIC = -1  # of DATA.WORKERS
MOST_ON_A_GPU = 32  # per training process; each holds two batches in shared memory (our choice)
MOST_ON_A_CPU = 4  # training itself needs the cores, and reads far fewer clips per second (our choice)
QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container, in cgroup version 2


def resolve_workers(choice: int, device: torch.device) -> int:
    """The number of processes that read videos for this one; ``choice`` is DATA.WORKERS.

    By default this process's share of the CPUs, less one for the process itself, and at least one. If the
    process is one of a run, all processes of the run must call this.

    Args:
        device: that the batches are for.
    """
    if choice != AUTOMATIC:
        return choice
    most = MOST_ON_A_GPU if device.type == "cuda" else MOST_ON_A_CPU
    return min(most, max(1, int(cpu_share()) - 1))


def cpu_share() -> float:
    """How many CPUs this process has for itself, if all processes of the run share theirs equally.

    A CPU that several processes of the run may use counts in equal parts for each. The share is therefore
    right both where the launcher binds each process to CPUs of its own and where all may use all.
    """
    own = (socket.gethostname(), usable_cpus())
    everyone = [own]
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        everyone = [own] * dist.get_world_size()
        dist.all_gather_object(everyone, own)
    local = [cpus for host, cpus in everyone if host == own[0]]
    return min(_share_of(own[1], local), _quota() / len(local))


def _share_of(own: Sequence[int], local: Sequence[Sequence[int]]) -> float:
    """The share of a process that may use the CPUs ``own``, among all processes on its machine."""
    users = Counter(cpu for cpus in local for cpu in cpus)
    return sum(1 / users[cpu] for cpu in own)


def usable_cpus() -> list[int]:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _quota() -> float:
    """How many CPUs' time the container may use; infinite without a limit."""
    try:
        quota, period = QUOTA.read_text(encoding="ascii").split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # no such file, or "max"
        return float("inf")
