"""What a step asks of the device: operations, reads that make the process wait, and its slowest kernels."""

import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from diffmae_video.benchmarks.timing import synchronize

READS = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero")


class OperationCounter(TorchDispatchMode):
    """Counts the operations that run under it, backward passes included, by name.

    Attributes:
        counts: calls of each operation that computes; views, which start no kernel, are left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view:
            self.counts[func.name()] += 1
        return func(*args, **(kwargs or {}))


def count_operations(run: Callable[[], Any]) -> int:
    """Operations of a call, without views."""
    with OperationCounter() as counter:
        run()
    return sum(counter.counts.values())


def count_reads(run: Callable[[], Any], device: torch.device) -> int:
    """How often a call waits for the device: reads of values, and copies that block.

    On a CUDA device torch itself reports them; on a CPU the reads of values are counted.
    """
    if device.type != "cuda":
        with OperationCounter() as counter:
            run()
        return sum(n for name, n in counter.counts.items() if any(read in name for read in READS))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(warning.message) for warning in seen)


def profile_kernels(
    run: Callable[[], Any], device: torch.device, longest: int = 15
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The kernels (on a CPU: operations) of a call.

    Returns:
        How many were started and the milliseconds that they took in all; and for the ``longest`` ones
        ``name``, ``calls``, ``ms`` and ``share`` of the time of all.
    """
    is_cuda = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_cuda else [])]
    with profile(activities=activities) as profiler:
        run()
        synchronize(device)
    time_of = "self_device_time_total" if is_cuda else "self_cpu_time_total"
    events = [event for event in profiler.key_averages() if getattr(event, time_of) > 0]
    if is_cuda:  # kernels alone: the time of operations and annotations is that of their kernels
        events = [
            event
            for event in events
            if event.device_type == DeviceType.CUDA and not getattr(event, "is_user_annotation", False)
        ]
    events.sort(key=lambda event: -getattr(event, time_of))
    total = sum(getattr(event, time_of) for event in events)
    kernels = [
        {
            "name": event.key[:100],
            "calls": event.count,
            "ms": round(getattr(event, time_of) / 1e3, 3),
            "share": round(getattr(event, time_of) / total, 3),
        }
        for event in events[:longest]
    ]
    return {"kernels": sum(event.count for event in events), "kernel_ms": round(total / 1e3, 2)}, kernels
