"""Training and probing runs as jobs: a few at a time, each resumable after any stop."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffmae_video.errors import InputError
from diffmae_video.runtime.progress import ProgressBar

LOG = "log.txt"


@dataclass(frozen=True)
class Job:
    """One run."""

    folder: Path  # where the run writes its files. Its output goes to log.txt there.
    run: Callable[..., None]  # a module-level function, called as run(*arguments, folder, resume=True)
    arguments: Sequence[Any]  # picklable arguments of run
    # a file that run writes into the folder last. The job is done once it exists.
    result: str = "model.safetensors"
    weight: float = 1.0  # cost relative to the other jobs, for the estimate of the time left
    needs: Sequence[Job] = ()  # jobs whose results it reads

    @property
    def is_done(self) -> bool:
        return (self.folder / self.result).is_file()

    def read_rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of a JSON-lines file that the run wrote."""
        lines = (self.folder / name).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


def run_jobs(
    jobs: Sequence[Job], at_once: int, title: str, after_each: Callable[[], object] | None = None
) -> None:
    """Runs every job that is not done yet, each on one thread of its own process.

    Processes are reused for later jobs, because starting one takes longer than a small run. Progress is a bar
    on a terminal, and otherwise a line for each finished run.

    Args:
        jobs: the most important first. The first one whose ``needs`` are done is started next.
        at_once: the number of processes.
        title: shown in front of the progress.
        after_each: called in this process whenever a job is done.

    Raises:
        InputError: a job failed. All that do not need it were finished; calling this again does the rest.
    """
    pending = [job for job in jobs if not job.is_done]
    if not pending:
        return
    total, done = sum(job.weight for job in jobs), len(jobs) - len(pending)
    context = multiprocessing.get_context("spawn")  # a forked process would inherit locks held by our threads
    pool = ProcessPoolExecutor(
        min(at_once, len(pending)), context, initializer=_start_worker, initargs=(os.getpid(),)
    )
    bar = ProgressBar(
        total=total,
        initial=total - sum(job.weight for job in pending),
        desc=title,
        bar_format="{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}{postfix}]",
        line_seconds=0,
    )
    try:
        with bar:
            running: dict[Future[str], Job] = {}
            failures = []
            while True:
                ready = [job for job in pending if all(needed.is_done for needed in job.needs)]
                for job in ready[: at_once - len(running)]:
                    pending.remove(job)
                    running[pool.submit(_run, job)] = job
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job, failure = running.pop(future), future.result()
                    failures += [f"{failure}; see {job.folder / LOG}"] if failure else []
                    done += not failure
                    bar.set_postfix_str(f"{done} of {len(jobs)} runs", refresh=False)
                    bar.update(job.weight)
                    if not failure and after_each is not None:
                        after_each()
            if failures:
                raise InputError(
                    f"{len(failures)} of {len(jobs)} runs failed ({failures[0]}); fix the cause, and "
                    "start again to continue"
                )
    except BaseException as error:
        for process in list((pool._processes or {}).values()):
            process.kill()  # safe: runs write their files atomically
        if isinstance(error, BrokenProcessPool):
            raise InputError(f"the process of a run was killed ({error}); start again to continue") from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(parent: int) -> None:
    """Limits a worker to one thread, and ends it with its parent process, even if that is killed."""
    os.environ["OMP_NUM_THREADS"] = "1"  # for processes that the worker starts
    import torch

    torch.set_num_threads(1)
    threading.Thread(target=_exit_with, args=[parent], daemon=True).start()


def _exit_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _run(job: Job) -> str:
    """Runs a job and returns why it failed, or "". Not every exception can be pickled, so none is passed."""
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
