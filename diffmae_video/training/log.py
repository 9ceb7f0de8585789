"""metrics.jsonl, one line per step, the progress bar of a run, and the warning that it waits for data."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from diffmae_video.runtime.progress import ProgressBar
from diffmae_video.training.curves import Curves
from diffmae_video.training.data_wait import DataWait


class StepLog:
    """Writes one line per step to metrics.jsonl, and shows a bar with rate and ETA.

    Losses stay on the device and are read, and averaged over the processes, every ``every`` steps, so that a
    step does not wait for the device. All processes must keep a log.

    Args:
        path: the file, which is appended to.
        total: steps of the run; None if they are not known beforehand, and then there is no bar.
        done: steps taken before this start.
        every: steps between writes.
        curves: also gets the lines; None on all processes except the main one, which then show no bar.
    """

    def __init__(self, path: Path, total: int | None, done: int, every: int, curves: Curves | None) -> None:
        self.path, self.file = path, path.open("a", encoding="utf-8")
        self.every = every
        self.curves = curves
        self.rows: list[dict[str, Any]] = []
        self.bar = ProgressBar(
            total=total,
            initial=done,
            unit=" steps",
            desc="training",
            disable=curves is None or total is None,
        )
        self.data_wait = DataWait()

    def step(self, loss: Tensor, **values: Any) -> None:
        """Adds a step."""
        self.rows.append({**values, "loss": loss})
        self.bar.update()
        if len(self.rows) >= self.every:
            self.flush()

    def flush(self, averaged: bool = True) -> None:
        """Writes the steps since the last write, with their losses averaged over the processes."""
        if self.rows:
            losses = torch.stack([row["loss"] for row in self.rows])
            waited = sum(row.get("data_ms", 0.0) for row in self.rows)
            if averaged and dist.is_initialized() and dist.get_world_size() > 1:
                dist.all_reduce(losses)
                losses /= dist.get_world_size()
                slowest = torch.tensor(waited, device=losses.device)
                dist.all_reduce(slowest, dist.ReduceOp.MAX)
                waited = float(slowest)
            if self.curves is not None:
                self.data_wait.add(len(self.rows), waited, sum(row.get("step_ms", 0.0) for row in self.rows))
            for row, loss in zip(self.rows, losses.tolist(), strict=True):
                row["loss"] = loss if math.isfinite(loss) else None  # JSON has no NaN
        for row in self.rows:
            self.file.write(json.dumps(row) + "\n")
        try:
            self.file.flush()
        except OSError as error:  # Python's own message does not name the file
            raise OSError(error.errno, error.strerror, self.file.name) from error
        if self.curves is not None:
            self.curves.add_steps(self.rows)
        finite = [row["loss"] for row in self.rows if row["loss"] is not None]
        if finite:
            shown = {"loss": f"{sum(finite) / len(finite):.4f}", "lr": f"{self.rows[-1]['lr']:.1e}"}
            rates = [row["clips_per_s"] for row in self.rows if "clips_per_s" in row]
            if rates:
                shown["clips/s"] = f"{len(rates) / sum(1 / rate for rate in rates):.3g}"
            self.bar.set_postfix(shown)
        self.rows.clear()

    def __enter__(self) -> StepLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush(averaged=error is None)  # after an error the other processes may be gone
        self.bar.close()
        self.file.close()
        if self.curves is not None:
            self.curves.close()
            # A start that failed before its first step does not make the folder one that holds a run.
            if error is not None and not self.path.stat().st_size:
                self.path.unlink()


def forget_after(path: Path, step: int) -> None:
    """Cuts the lines of later steps off a file of JSON lines: a resumed run takes those steps again."""
    if not path.exists():
        return
    with path.open("rb") as file:
        size = 0
        for line in file:
            try:
                done = json.loads(line)["step"]
            except (ValueError, KeyError):  # the write was interrupted
                break
            if done > step or not line.endswith(b"\n"):
                break
            size += len(line)
    os.truncate(path, size)
