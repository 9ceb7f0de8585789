"""Records videos that could not be read, and stops a run when there are too many."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from diffmae_video.errors import InputError

MIN_READS = 100  # before the share counts, so that a few bad files at the start do not stop a run


@dataclass(frozen=True)
class Fault:
    """A video that could not be read, and the sample (epoch, index, attempt) it was read for."""

    path: str
    reason: str
    epoch: int
    index: int
    attempt: int


class HasFaults(Protocol):
    @property
    def faults(self) -> Sequence[Fault]: ...


BatchWithFaults = TypeVar("BatchWithFaults", bound=HasFaults)


class FaultLog:
    """Appends one JSON line per failed read to a file, and stops the run when too many reads fail.

    Args:
        path: the file.
        max_share: the largest acceptable share of failed reads, from 0 to 1.
        videos: number of videos per batch.
    """

    def __init__(self, path: Path, max_share: float, videos: int) -> None:
        self.path, self.max_share, self.videos = path, max_share, videos
        self.failed = self.reads = 0

    def watch(self, batches: Iterator[BatchWithFaults]) -> Iterator[BatchWithFaults]:
        """Passes batches through and records their faults.

        Raises:
            InputError: more than ``max_share`` of the reads failed.
        """
        for batch in batches:
            self.failed += len(batch.faults)
            self.reads += len(batch.faults) + self.videos
            if batch.faults:
                lines = [json.dumps(asdict(fault)) for fault in batch.faults]
                # All ranks append to this file; a single write keeps their lines apart.
                with self.path.open("a", encoding="utf-8") as file:
                    file.write("".join(f"{line}\n" for line in lines))
            if self.reads >= MIN_READS and self.failed > self.max_share * self.reads:
                raise InputError(
                    f"{self.failed} of {self.reads} reads of videos failed, which exceeds "
                    f"DATA.MAX_BAD_SHARE {self.max_share:g}; {self.path} names the files. Remove them from "
                    "the list with diffmae check-videos --clean, or raise DATA.MAX_BAD_SHARE"
                )
            yield batch
