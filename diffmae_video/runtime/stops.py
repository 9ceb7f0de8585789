"""How a run ends before its last step: all processes after the same step, with an exit code that says why."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from datetime import timedelta
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

from diffmae_video.runtime.processes import Process

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)  # of schedulers that want the machine back
STOPPED = 75  # the exit code: saved when told to stop; --resume goes on (EX_TEMPFAIL, "try again later")
FAILED = 1  # the exit code: it cannot go on by itself


class RunEnded(SystemExit):
    """A run ended before its last step; uncaught, it ends the process with its exit code."""


def end_run(process: Process, message: str, code: int) -> RunEnded:
    """Says in one line, on the main process, why the run ends."""
    if process.is_main:
        print(message, file=sys.stderr, flush=True)
    return RunEnded(code)


class Agreement:
    """What one process has seen and all must act on, after the same step.

    :meth:`ask` starts a sum of flags over the processes in the background of a step, on the CPU and in
    a group of its own, so that no device waits for it; :meth:`answer` has it at the step's end. What is
    seen in mid-step is therefore acted on a step later.

    Args:
        patience: minutes that a process waits for another one.
    """

    def __init__(self, process: Process, patience: float) -> None:
        self.is_shared = process.world > 1
        if self.is_shared:
            self.group: Any = dist.new_group(backend="gloo", timeout=timedelta(minutes=patience))

    def ask(self, *flags: bool) -> None:
        self.flags = torch.tensor(flags, dtype=torch.int32)
        if self.is_shared:
            self.work: Any = dist.all_reduce(self.flags, group=self.group, async_op=True)

    def answer(self) -> list[bool]:
        if self.is_shared:
            self.work.wait()
        return [bool(flag) for flag in self.flags]


class StopSignals:
    """Remembers that a signal asked this process to stop; handlers stand inside ``with``."""

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
    """A loader's batches, read by processes that do not see the signals, which go to the whole group.

    A reading process that ended at once would take the step with it that is to be finished. Since it
    cannot be told to end by the usual signal either, it is ended here, and not at Python's exit, which
    would wait for it for ever.
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
            batches._shutdown_workers()  # torch waits 5 s for a reader to finish its video
        for reader in getattr(batches, "_workers", ()):  # and no other loader's, which may be at work
            reader.kill()


@contextlib.contextmanager
def lost_peers(process: Process) -> Iterator[None]:
    """Ends the run with a message when another process has died, or does not answer in time."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if not isinstance(error, dist.DistError) and "gloo" not in text and "NCCL" not in text:
            raise
        print(
            f"error: process {process.rank} of {process.world} has lost another one, which died or hangs "
            f"({' '.join(text.split())[:120]}); start it again, a training run with --resume",
            file=sys.stderr,
            flush=True,
        )
        raise RunEnded(FAILED) from error
