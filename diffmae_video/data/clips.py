"""Clips of videos: several from one open and one sorted read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from diffmae_video.data.manifest import Entry
from diffmae_video.data.readers import VideoError, VideoReader, open_video
from diffmae_video.data.transforms import center_crop, random_resized_crop
from diffmae_video.masks import Mask
from diffmae_video.tokens import Triple

ATTEMPTS = 10  # videos tried for one place of a batch


def random_state(*key: int) -> torch.Generator:
    """A generator that depends on a key of whole numbers alone."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.Generator().manual_seed(seed)


def frame_range(video: VideoReader, entry: Entry) -> tuple[int, int]:
    """The first frame of an entry and the one after its last.

    Raises:
        VideoError: the entry lies outside the video.
    """
    first = round(entry.start * video.fps)
    last = video.num_frames if entry.end is None else min(video.num_frames, round(entry.end * video.fps))
    if not first < last:
        raise VideoError(
            f"{entry.path}: nothing from {entry.start} s to {entry.end} s; it has {video.num_frames} frames"
        )
    return first, last


def clip_indices(first: int, last: int, start: int, num_frames: int, stride: int) -> list[int]:
    """Frame indices of a clip that starts at ``start``; a short video's last frame is repeated."""
    return [min(start + i * stride, last - 1) for i in range(num_frames)]


def read_clips(video: VideoReader, indices: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Several clips in one sorted read: a list of uint8 [T, H, W, 3]."""
    wanted = sorted({i for clip in indices for i in clip})
    frames = video.frames(wanted)
    place = {index: i for i, index in enumerate(wanted)}
    return [frames[[place[i] for i in clip]] for clip in indices]


class TrainingClips(NamedTuple):
    """What a training step takes; a video gives R clips.

    Attributes:
        clips: uint8 [R, T, H, W, 3].
        mask: of R clips.
        t: int64 [R], timesteps in 1..T.
    """

    clips: Tensor
    mask: Mask
    t: Tensor


class ClipDataset(Dataset[TrainingClips]):
    """Random clips with their masks and timesteps, for pre-training.

    Items are asked for by (epoch, index), and all that is random in one depends on (seed, epoch,
    index, repeat, attempt) alone: the same on any number of workers and ranks.

    Args:
        entries: the videos.
        num_frames, stride: of a clip, in frames.
        size: (height, width) in pixels.
        repeats: clips per video that is opened (repeated sampling; MAE-ST).
        patch: (frames, height, width) of a patch.
        mask: ``kind`` and ``ratio``.
        timesteps: T of the schedule.
        crop_scale: bounds of the random crop's share of the frame.
        flip: mirror half of the clips.
        backend: see :func:`~diffmae_video.data.readers.open_video`.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        num_frames: int,
        stride: int,
        size: Sequence[int],
        repeats: int,
        patch: Triple,
        mask: dict[str, object],
        timesteps: int,
        crop_scale: Sequence[float] = (0.5, 1.0),
        flip: bool = True,
        seed: int = 0,
        backend: str = "decord",
    ) -> None:
        self.entries = list(entries)
        self.num_frames, self.stride, self.size, self.repeats = num_frames, stride, tuple(size), repeats
        self.patch, self.mask, self.timesteps = patch, mask, timesteps
        self.crop_scale, self.flip, self.seed, self.backend = crop_scale, flip, seed, backend
        self.grid: Triple = (num_frames // patch[0], self.size[0] // patch[1], self.size[1] // patch[2])

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, key: tuple[int, int]) -> TrainingClips:
        """The clips of (epoch, index).

        Raises:
            VideoError: ten videos in a row could not be read.
        """
        epoch, index = key
        for attempt in range(ATTEMPTS):
            # What replaces a broken video depends on the key alone.
            other = random_state(self.seed, epoch, index, attempt)
            chosen = index if not attempt else int(torch.randint(len(self), (), generator=other))
            try:
                return self._read(self.entries[chosen], (self.seed, epoch, index, attempt))
            except VideoError as caught:
                error = caught
        raise VideoError(f"{ATTEMPTS} videos in a row could not be read; the last one: {error}")

    def _read(self, entry: Entry, key: tuple[int, ...]) -> TrainingClips:
        states = [random_state(*key, repeat) for repeat in range(self.repeats)]
        with open_video(entry.path, self.backend) as video:
            first, last = frame_range(video, entry)
            room = max(1, last - first - (self.num_frames - 1) * self.stride)
            starts = [first + int(torch.randint(room, (), generator=state)) for state in states]
            decoded = read_clips(
                video, [clip_indices(first, last, s, self.num_frames, self.stride) for s in starts]
            )
        clips, masks, ts = [], [], []
        for frames, state in zip(decoded, states, strict=True):
            clip = random_resized_crop(frames, self.size, state, self.crop_scale)
            flipped = bool(torch.rand((), generator=state) < 0.5) and self.flip
            clips.append(clip.flip(2) if flipped else clip)
            masks.append(Mask.draw(batch=1, grid=self.grid, generator=state, **self.mask))  # type: ignore[arg-type]
            ts.append(torch.randint(1, self.timesteps + 1, (1,), generator=state))
        return TrainingClips(torch.stack(clips), Mask.cat(masks), torch.cat(ts))


def uniform_clips(
    entry: Entry, count: int, num_frames: int, stride: int, size: Sequence[int], backend: str = "decord"
) -> Tensor:
    """Clips spread evenly over an entry, centre-cropped, for evaluation: uint8 [count, T, H, W, 3].

    Raises:
        VideoError: the video cannot be read.
    """
    with open_video(entry.path, backend) as video:
        first, last = frame_range(video, entry)
        room = max(0, last - first - (num_frames - 1) * stride - 1)
        starts = [first + round(s) for s in np.linspace(0, room, count)]
        decoded = read_clips(video, [clip_indices(first, last, s, num_frames, stride) for s in starts])
    return torch.stack([center_crop(frames, size) for frames in decoded])
