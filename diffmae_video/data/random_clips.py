"""Random clips of listed videos, the base of both training data sets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar

import torch
from torch.utils.data import Dataset
from typing_extensions import Unpack

from diffmae_video.data.clip_sampler import ClipSampler, frame_range, read_clips
from diffmae_video.data.faults import Fault
from diffmae_video.data.lists import Entry
from diffmae_video.decoding import DecodingProcess, VideoError, VideoReader
from diffmae_video.decoding.storage import is_url
from diffmae_video.decoding.tiny_videos import TINY_VIDEOS
from diffmae_video.errors import StoreError
from diffmae_video.randomness import random_state

ATTEMPTS = 30  # videos tried for one sample

Item = TypeVar("Item")


class SampleKey(NamedTuple):
    """Which sample of the training stream this is."""

    position: int  # in the stream, over all epochs and processes
    epoch: int  # the pass over the list
    row: int  # of the video in the list
    step_start: int = 0  # position of the first sample of the optimizer step that it belongs to


class DecodedClips(NamedTuple):
    """Decoded clips of one video."""

    row: int  # index of the video in the list; differs from the requested one if that was replaced
    clips: list[Any]  # of each repeat: uint8 [T, H, W, 3], or what :meth:`RandomClips.read` returns
    # one for each clip, for its augmentation and everything else that is random about it
    generators: list[torch.Generator]


class Reading(TypedDict):
    """How random clips are drawn and read."""

    repeats: int  # number of clips per opened video (repeated sampling; MAE-ST)
    seed: int  # of the clips' starts and augmentation
    backend: str  # backend, short_side: see open_video
    short_side: int
    timeout: float  # seconds allowed for opening a video, and again for reading its frames


class RandomClips(Dataset[Item], Generic[Item]):
    """R random clips from each opened video; subclasses turn them into training samples.

    The data set is indexed by :class:`SampleKey`. Everything random about a sample depends only on (seed,
    epoch, index, repeat, attempt), so samples are the same for any number of workers and ranks. Videos
    are decoded in a separate process, which is killed if it hangs; tiny ones only once.

    Args:
        entries: the videos.
        clip_sampler: temporal layout of a clip.
        reading: see :class:`Reading`.
    """

    def __init__(
        self, entries: Sequence[Entry], clip_sampler: ClipSampler, **reading: Unpack[Reading]
    ) -> None:
        self.entries, self.clip_sampler = list(entries), clip_sampler
        self.repeats, self.seed = reading["repeats"], reading["seed"]
        self.backend, self.short_side = reading["backend"], reading["short_side"]
        self.decoder = DecodingProcess(reading["timeout"])

    @abstractmethod
    def sample(self, key: SampleKey, decoded: DecodedClips, faults: tuple[Fault, ...]) -> Item:
        """Turns the clips of one video into a sample; ``faults`` are the videos that it replaces."""

    @staticmethod
    @abstractmethod
    def collate(samples: Sequence[Item]) -> Item:
        """Joins samples of R clips each into one batch."""

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, key: SampleKey) -> Item:
        """The sample of a key.

        Raises:
            VideoError: 30 videos in a row could not be read.
            StoreError: all of these lie in object stores.
        """
        epoch, index = key.epoch, key.row
        faults: list[Fault] = []
        for attempt in range(ATTEMPTS):
            # The replacement of an unreadable video depends on the key alone.
            generator = random_state(self.seed, epoch, index, attempt)
            row = index if not attempt else int(torch.randint(len(self), (), generator=generator))
            try:
                decoded = self._decode(row, (self.seed, epoch, index, attempt))
            except VideoError as error:
                faults.append(Fault(self.entries[row].path, str(error), epoch, index, attempt))
            else:
                return self.sample(key, decoded, tuple(faults))
        if all(is_url(fault.path) for fault in faults):
            raise StoreError(
                f"{ATTEMPTS} videos in a row could not be read from their store; continue with --resume when "
                f"it answers. The last one: {faults[-1].reason}"
            )
        raise VideoError(
            f"{ATTEMPTS} videos in a row could not be read; check the list with diffmae check-videos. "
            f"The last one: {faults[-1].reason}"
        )

    def _decode(self, row: int, key: tuple[int, ...]) -> DecodedClips:
        entry = self.entries[row]
        generators = [random_state(*key, repeat) for repeat in range(self.repeats)]
        with TINY_VIDEOS.open(self.decoder, entry.path, self.backend, self.short_side) as video:
            first, end = frame_range(video, entry)
            num_starts = self.clip_sampler.num_starts(video, first, end)
            starts = [first + int(torch.randint(num_starts, (), generator=g)) for g in generators]
            clips = [self.clip_sampler.indices(video, start, end) for start in starts]
            return DecodedClips(row, self.read(video, clips), generators)

    def read(self, video: VideoReader, clips: Sequence[list[int]]) -> list[Any]:
        """The clips of an open video, by the indices of their frames."""
        return read_clips(video, clips)
