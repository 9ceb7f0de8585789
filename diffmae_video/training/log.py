"""What a run records: one JSON line a step, and a progress bar."""

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
from diffmae_video.training.records import Records


class StepLog:
    """Writes metrics.jsonl, one line a step, and shows a bar with rate and ETA.

    The loss is a tensor on the device. It is read, and averaged over the processes, in one copy every
    ``every`` steps, so that a step does not wait for the device; all processes must keep a log.

    Args:
        path: the file; its lines are appended to.
        total: steps of the run.
        done: of them, in an earlier part of the run.
        every: steps between writes.
        clips_per_step: for the rate.
        records: gets the lines too; None, and no bar at all, on other processes than the main one.
    """

    def __init__(
        self, path: Path, total: int, done: int, every: int, clips_per_step: int, records: Records | None
    ) -> None:
        self.file = path.open("a", encoding="utf-8")
        self.every = every
        self.records = records
        self.rows: list[dict[str, Any]] = []
        self.bar = ProgressBar(
            total=total * clips_per_step,
            initial=done * clips_per_step,
            unit=" clips",
            desc="training",
            disable=records is None,
        )
        self.clips_per_step = clips_per_step

    def step(self, loss: Tensor, **values: Any) -> None:
        """Records one step."""
        self.rows.append({**values, "loss": loss})
        self.bar.update(self.clips_per_step)
        if len(self.rows) >= self.every:
            self.flush()

    def flush(self, averaged: bool = True) -> None:
        """Reads the kept losses, averages them over the processes, and writes their lines."""
        if self.rows:
            losses = torch.stack([row["loss"] for row in self.rows])
            if averaged and dist.is_initialized() and dist.get_world_size() > 1:
                dist.all_reduce(losses)
                losses /= dist.get_world_size()
            for row, loss in zip(self.rows, losses.tolist(), strict=True):
                row["loss"] = loss if math.isfinite(loss) else None  # JSON has no NaN
        for row in self.rows:
            self.file.write(json.dumps(row) + "\n")
        try:
            self.file.flush()
        except OSError as error:  # Python's own message does not name the file
            raise OSError(error.errno, error.strerror, self.file.name) from error
        if self.records is not None:
            self.records.rows(self.rows)
        finite = [row["loss"] for row in self.rows if row["loss"] is not None]
        if finite:
            self.bar.set_postfix(loss=f"{sum(finite) / len(finite):.4f}", lr=f"{self.rows[-1]['lr']:.1e}")
        self.rows.clear()

    def __enter__(self) -> StepLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush(averaged=error is None)  # after an error the other processes may not be there
        self.bar.close()
        self.file.close()
        if self.records is not None:
            self.records.close()


def forget_after(path: Path, step: int) -> None:
    """Cuts a file of one JSON line a step off after a step: what follows is lost work, and done again."""
    if not path.exists():
        return
    with path.open("rb") as file:
        size = 0
        for line in file:
            try:
                done = json.loads(line)["step"]
            except (ValueError, KeyError):  # torn in mid-write
                break
            if done > step or not line.endswith(b"\n"):
                break
            size += len(line)
    os.truncate(path, size)
