"""Many runs, a few at a time, that can be stopped and started again."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffmae_video.errors import InputError
from diffmae_video.runtime.progress import ProgressBar

LOG = "log.txt"


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        folder: what it writes; what it says goes into log.txt there.
        run: a function of a module, called with the folder and ``resume=True`` behind ``arguments``.
        arguments: of it; they are pickled.
        done: the file of the folder that is there once it has ended well.
        weight: what it costs beside the others, for the time that is left.
    """

    folder: Path
    run: Callable[..., None]
    arguments: Sequence[Any]
    done: str = "model.safetensors"
    weight: float = 1.0

    @property
    def is_done(self) -> bool:
        return (self.folder / self.done).is_file()


def run_jobs(phases: Sequence[Sequence[Job]], at_once: int, title: str) -> None:
    """Runs the jobs that are not done yet, each in one thread of a process of its own.

    The processes stay for the next job, since starting one takes longer than a small run. A terminal gets a
    progress bar, and a file (of a batch system, say) a line for each run that ends.

    Args:
        phases: a phase starts when the one before it has ended.

    Raises:
        InputError: one of them failed; the others are stopped, and go on when this is called again.
    """
    jobs = [job for phase in phases for job in phase]
    left = [job for job in jobs if not job.is_done]
    if not left:
        return
    total, done = sum(job.weight for job in jobs), len(jobs) - len(left)
    context = multiprocessing.get_context("spawn")  # a forked process would share our threads' locks
    pool = ProcessPoolExecutor(
        min(at_once, len(left)), context, initializer=_prepare, initargs=(os.getpid(),)
    )
    bar = ProgressBar(
        total=total,
        initial=total - sum(job.weight for job in left),
        desc=title,
        bar_format="{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}{postfix}]",
        line_seconds=0,
    )
    try:
        with bar:
            for phase in phases:
                futures = {pool.submit(_run, job): job for job in phase if not job.is_done}
                for future in as_completed(futures):
                    failure, job = future.result(), futures[future]
                    if failure:
                        log = job.folder / LOG
                        raise InputError(
                            f"a run failed ({failure}); {log} says why; mend it and run this again"
                        )
                    done += 1
                    bar.set_postfix_str(f"{done} of {len(jobs)} runs", refresh=False)
                    bar.update(job.weight)
    except BaseException as error:
        for process in list((pool._processes or {}).values()):
            process.kill()  # what a run has written is whole
        if isinstance(error, BrokenProcessPool):
            raise InputError(f"a run's process was killed ({error}); run this again to go on") from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare(parent: int) -> None:
    """One thread for each process, which ends with the one that started it, even if that is killed."""
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that it starts
    import torch

    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=[parent], daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _run(job: Job) -> str:
    """Why it failed, or nothing; a pool cannot bring every exception home."""
    job.folder.mkdir(parents=True, exist_ok=True)
    with (
        (job.folder / LOG).open("a", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        try:
            job.run(*job.arguments, job.folder, resume=True)
        except BaseException as error:
            traceback.print_exc()
            return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return ""
