"""Random clips of listed videos: what pre-training and fine-tuning read alike."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset

from diffmae_video.data.clip_sampler import ClipSampler, frame_range, read_clips
from diffmae_video.data.faults import Fault
from diffmae_video.data.lists import Entry
from diffmae_video.decoding import DecodingProcess, VideoError
from diffmae_video.randomness import random_state

ATTEMPTS = 30  # videos tried for one place of a batch

Sample = TypeVar("Sample")


class Decoded(NamedTuple):
    """Clips of a video as they were decoded.

    Attributes:
        row: of the video in the list; another than the one asked for, where that could not be read.
        clips: uint8 [T, H, W, 3] each.
        states: a generator for each, for whatever is still random about it.
    """

    row: int
    clips: list[np.ndarray]
    states: list[torch.Generator]


class RandomClips(Dataset[Sample], Generic[Sample]):
    """R random clips from one open of each video; a subclass makes a sample of them.

    Items are asked for by (epoch, index), and all that is random in one depends on (seed, epoch,
    index, repeat, attempt) alone: the same on any number of workers and ranks. Videos are decoded in
    a process apart, which is ended where it hangs.

    Args:
        entries: the videos.
        sampling: of a clip.
        repeats: clips per video that is opened (repeated sampling; MAE-ST).
        backend, short_side: see :func:`~diffmae_video.decoding.open_video`.
        timeout: seconds for opening a video, and again for reading its frames.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        sampling: ClipSampler,
        repeats: int = 1,
        seed: int = 0,
        backend: str = "decord",
        short_side: int = 0,
        timeout: float = 60.0,
    ) -> None:
        self.entries, self.sampling, self.repeats, self.seed = list(entries), sampling, repeats, seed
        self.backend, self.short_side = backend, short_side
        self.decoder = DecodingProcess(timeout)

    @abstractmethod
    def sample(self, decoded: Decoded, faults: tuple[Fault, ...]) -> Sample:
        """What the loader hands on for one video; ``faults`` are of those tried before it."""

    @staticmethod
    @abstractmethod
    def collate(samples: Sequence[Sample]) -> Sample:
        """Joins samples of R clips each into one batch."""

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The sample of (epoch, index).

        Raises:
            VideoError: 30 videos in a row could not be read.
        """
        epoch, index = key
        faults: list[Fault] = []
        for attempt in range(ATTEMPTS):
            # What replaces a broken video depends on the key alone.
            other = random_state(self.seed, epoch, index, attempt)
            chosen = index if not attempt else int(torch.randint(len(self), (), generator=other))
            try:
                decoded = self._read(chosen, (self.seed, epoch, index, attempt))
            except VideoError as error:
                faults.append(Fault(self.entries[chosen].path, str(error), epoch, index, attempt))
            else:
                return self.sample(decoded, tuple(faults))
        raise VideoError(
            f"{ATTEMPTS} videos in a row could not be read (look through the list with "
            f"tools/check_videos.py); the last one: {faults[-1].reason}"
        )

    def _read(self, index: int, key: tuple[int, ...]) -> Decoded:
        entry = self.entries[index]
        states = [random_state(*key, repeat) for repeat in range(self.repeats)]
        with self.decoder.open(entry.path, self.backend, self.short_side) as video:
            first, last = frame_range(video, entry)
            starts = self.sampling.starts(video, first, last)
            wanted = [
                self.sampling.indices(video, first + int(torch.randint(starts, (), generator=state)), last)
                for state in states
            ]
            return Decoded(index, read_clips(video, wanted), states)
