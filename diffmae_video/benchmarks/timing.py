"""Timing a function on a device, and comparing interleaved timings."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

RUNS = 5  # interleaved runs, whose median is reported


def synchronize(device: torch.device) -> None:
    """Waits until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(run: Callable[[], Any], device: torch.device, repeats: int = 1) -> float:
    """Seconds of one call, averaged over ``repeats`` calls in a row."""
    synchronize(device)
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    synchronize(device)
    return (time.perf_counter() - start) / repeats


def median_ratio(a: Sequence[float], b: Sequence[float]) -> float:
    """The median of the ratios of runs that took turns."""
    return round(statistics.median(x / y for x, y in zip(a, b, strict=True)), 3)


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
