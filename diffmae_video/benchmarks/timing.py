"""Timing a function on a device, and comparing interleaved timings."""

import gc
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

RUNS = 5  # interleaved runs, whose median is reported

# Dense bf16 FLOP/s by a part of the GPU's name, from NVIDIA's data sheets; the first match counts.
PEAK_FLOPS = {
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H200": 989e12,
    "B200": 2250e12,
    "A100": 312e12,
    "L40S": 362e12,
}


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


def median_seconds(run: Callable[[], Any], device: torch.device, runs: int = 3, repeats: int = 1) -> float:
    """Seconds of one call: the median of ``runs`` timings, after one call to warm up."""
    run()
    return statistics.median(seconds_of(run, device, repeats) for _ in range(runs))


def median_ratio(a: Sequence[float], b: Sequence[float]) -> float:
    """The median of the ratios of runs that took turns."""
    return round(statistics.median(x / y for x, y in zip(a, b, strict=True)), 3)


def matmul_flops(shapes: Sequence[tuple[int, int, int]], dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of the fastest of several linear layers, given as (m, k, n): [m, k] x [k, n] with a bias."""
    best = 0.0
    for m, k, n in shapes:
        x = torch.randn(m, k, device=device, dtype=dtype)
        w, b = torch.randn(n, k, device=device, dtype=dtype), torch.randn(n, device=device, dtype=dtype)
        product = lambda x=x, w=w, b=b: nn.functional.linear(x, w, b)  # noqa: E731
        product()
        repeats = max(1, int(2e11 if device.type == "cpu" else 2e13) // (2 * m * k * n))
        best = max(best, 2 * m * k * n / seconds_of(product, device, repeats))
    return best


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def peak_flops(device: torch.device) -> float | None:
    """Dense bf16 FLOP/s of the device by its data sheet; None if it is not in ``PEAK_FLOPS``."""
    name = device_name(device)
    return next((flops for part, flops in PEAK_FLOPS.items() if part in name), None)


def free_memory(device: torch.device) -> None:
    """Drops what earlier measurements left behind: compiled code, garbage, cached device memory."""
    torch._dynamo.reset()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def reset_peak_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_mb(device: torch.device) -> float:
    """MiB of tensors at the highest point since the last reset; on a CPU of the whole process so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
