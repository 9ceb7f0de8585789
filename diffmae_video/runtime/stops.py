"""Ends a run before its last step: all processes after the same step, with an exit code that says why."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

from diffmae_video.runtime.processes import Process

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)  # sent by schedulers that need the machine
STOPPED = 75  # exit code: stopped by a signal and saved, continue with --resume (EX_TEMPFAIL)
FAILED = 1  # exit code: the run cannot continue by itself


class RunEnded(SystemExit):
    """A run ended before its last step. If it is not caught, the process ends with its exit code."""


def end_run(process: Process, message: str, code: int) -> RunEnded:
    """Prints a line that says why the run ends, on the main process; returns the exception to raise."""
    if process.is_main:
        print(message, file=sys.stderr, flush=True)
    return RunEnded(code)


class Agreement:
    """Flags that any process may raise, and that all processes act on at the same place in the run.

    :meth:`ask` starts to sum the flags over the processes while a forward and backward pass computes. The
    sum runs on the CPU and in a process group of its own, so that no device waits for it. :meth:`answer`
    returns it after the pass. A flag that is raised during a pass therefore takes effect after the next
    one; in a process that is alone it takes effect at once.

    Args:
        patience: minutes that a process waits for another one.
        flags: what this process has seen; called by :meth:`ask`.
    """

    def __init__(self, process: Process, patience: float, flags: Callable[[], Sequence[bool]]) -> None:
        self.flags, self.is_shared = flags, process.world > 1
        if self.is_shared:
            self.group: Any = dist.new_group(backend="gloo", timeout=timedelta(minutes=patience))

    def ask(self) -> None:
        if self.is_shared:
            self.sums = torch.tensor(self.flags(), dtype=torch.int32)
            self.work: Any = dist.all_reduce(self.sums, group=self.group, async_op=True)

    def answer(self) -> list[bool]:
        """Whether any process raised each of the flags."""
        if not self.is_shared:
            return list(self.flags())
        self.work.wait()
        return [bool(flag) for flag in self.sums]


class StopSignals:
    """Remembers, inside a ``with`` block, whether a signal has asked this process to stop."""

    def __init__(self) -> None:
        self.seen = False

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.seen = True

    def __enter__(self) -> StopSignals:
        self.before = {number: signal.signal(number, self._remember) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def shielded_batches(loader: DataLoader[Any]) -> Iterator[Iterator[Any]]:
    """A loader's batches, read by workers that ignore stop signals.

    A stop signal goes to the whole process group. A worker that ended at once would abort the step that is
    still to be finished. Workers that ignore SIGTERM would keep Python from exiting, so they are killed here.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        batches = iter(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        yield batches
    finally:
        if hasattr(batches, "_shutdown_workers"):
            batches._shutdown_workers()  # torch waits 5 s for a worker to finish its video
        for worker in getattr(batches, "_workers", ()):
            worker.kill()


@contextlib.contextmanager
def lost_peers(process: Process) -> Iterator[None]:
    """Ends the run with a message if another process has died or does not answer in time."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if not isinstance(error, dist.DistError) and "gloo" not in text and "NCCL" not in text:
            raise
        print(
            f"error: process {process.rank} of {process.world} has lost another one, which died or hangs "
            f"({' '.join(text.split())[:120]}); start again, with --resume if this is a training run",
            file=sys.stderr,
            flush=True,
        )
        raise RunEnded(FAILED) from error
