"""What a run does about videos that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from diffmae_video.errors import InputError

JUDGED_AFTER = 100  # reads, so that a few bad files at the start do not end a run


@dataclass(frozen=True)
class Fault:
    """A video that could not be read, and the place of the stream that it was read for."""

    path: str
    reason: str
    epoch: int
    index: int
    attempt: int


class HasFaults(Protocol):
    @property
    def faults(self) -> Sequence[Fault]: ...


Batch = TypeVar("Batch", bound=HasFaults)


class FaultLog:
    """Writes one JSON line for each failed read, and stops the run when they are too many.

    Args:
        path: the file; its lines are appended to.
        max_share: of the reads so far, from 0 to 1.
        videos: of a batch.
    """

    def __init__(self, path: Path, max_share: float, videos: int) -> None:
        self.path, self.max_share, self.videos = path, max_share, videos
        self.failed = self.reads = 0

    def watch(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Passes batches on, with their faults recorded.

        Raises:
            InputError: more than ``max_share`` of the reads failed.
        """
        for batch in batches:
            self.failed += len(batch.faults)
            self.reads += len(batch.faults) + self.videos
            if batch.faults:
                lines = [json.dumps(asdict(fault)) for fault in batch.faults]
                with self.path.open("a", encoding="utf-8") as file:  # of all ranks, a line at a time
                    file.write("".join(f"{line}\n" for line in lines))
            if self.reads >= JUDGED_AFTER and self.failed > self.max_share * self.reads:
                raise InputError(
                    f"{self.failed} of {self.reads} reads of videos failed, more than DATA.MAX_BAD_SHARE "
                    f"{self.max_share:g} allows; {self.path} names them"
                )
            yield batch
