"""The least time that a number of multiply-accumulates takes on this machine."""

import time

import torch

from diffmae_video.runtime.device import default_device

SIDE = 1024  # of the matrices whose product is timed
TRIALS = 5
TRAINING_FORWARDS = 3  # a forward and backward pass costs about three forward passes


def least_seconds(macs: float) -> float:
    """Seconds that matrix products of ``macs`` multiply-accumulates take on the default device.

    Training takes longer: reading videos, norms and the optimizer come on top. The rate is measured
    (a fraction of a second on a CPU), in bfloat16 on a GPU and float32 on a CPU.
    """
    device = default_device()
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    a, b = (torch.randn(SIDE, SIDE, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(TRIALS):
        started = time.perf_counter()
        (a @ b)[0, 0].item()  # waits for the product
        best = min(best, time.perf_counter() - started)
    return macs * best / SIDE**3


def describe_seconds(seconds: float) -> str:
    """A duration in the unit that suits it, such as ``3.2 hours``."""
    for name, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {name}"
    return f"{seconds:.1f} seconds"


def describe_training_time(macs: float, steps: int) -> str:
    """The least time of a training run, in one line.

    Args:
        macs: multiply-accumulates of one step's forward passes, on one process.
        steps: optimizer steps of the run.
    """
    step = least_seconds(TRAINING_FORWARDS * macs)
    return (
        f"about {describe_seconds(step)} a step and {describe_seconds(steps * step)} in all, counting "
        f"matrix products alone, at the speed of this machine's {default_device().type} now"
    )
