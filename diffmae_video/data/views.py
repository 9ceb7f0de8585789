"""Multi-view clips for evaluation: always the same ones, and an unreadable video is never replaced."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from diffmae_video.data.clip_sampler import (
    ClipSampler,
    covering_starts,
    evenly_spaced_starts,
    frame_range,
    read_clips,
)
from diffmae_video.data.lists import Entry
from diffmae_video.data.transforms import spatial_crops
from diffmae_video.decoding import DecodingProcess, VideoError, VideoReader, open_video
from diffmae_video.decoding.tiny_videos import TINY_VIDEOS
from diffmae_video.options import OPTIONS

POLICIES = ("fail", "skip")


def read_views(
    video: VideoReader,
    entry: Entry,
    clip_sampler: ClipSampler,
    size: Sequence[int],
    temporal: int,
    spatial: int,
) -> Tensor:
    """The views of an open video: uint8 [temporal * spatial, T, H, W, 3], ordered by time, then by crop.

    Args:
        size: (height, width) in pixels.
        temporal: number of clips, evenly spaced over the entry; 0 takes as many as cover it.
        spatial: number of crops of each clip, evenly spaced along the longer side.

    Raises:
        VideoError: the video cannot be decoded, or has no frame in the entry's stretch of time.
    """
    first, end = frame_range(video, entry)
    num_starts = clip_sampler.num_starts(video, first, end)
    if temporal:
        starts = evenly_spaced_starts(num_starts, temporal)
    else:
        clip = clip_sampler.indices(video, first, end)
        starts = covering_starts(num_starts, clip[-1] - clip[0] + 1)
    clips = read_clips(video, [clip_sampler.indices(video, first + start, end) for start in starts])
    return torch.cat([spatial_crops(frames, size, spatial) for frames in clips])


def uniform_clips(
    entry: Entry, count: int, num_frames: int, stride: int, size: Sequence[int], backend: str
) -> Tensor:
    """Clips evenly spaced over an entry, centre-cropped: uint8 [count, T, H, W, 3].

    Raises:
        VideoError: the video cannot be read.
    """
    with open_video(entry.path, backend) as video:
        return read_views(video, entry, ClipSampler(num_frames, stride, 0.0), size, count, 1)


def read_clip(
    path: str | Path,
    num_frames: int = 16,
    size: int | Sequence[int] = 224,
    stride: int = 1,
    start: float = 0.0,
    backend: str = OPTIONS["DATA.BACKEND"].default,
) -> Tensor:
    """One clip of a video, resized and centre-cropped: uint8 [1, T, H, W, 3]. ``model.normalise`` takes it.

    Args:
        num_frames: T; 1 reads a picture.
        size: (height, width) in pixels, or one number for both.
        stride: frames from one frame of the clip to the next.
        start: of the clip, in seconds.
        backend: see :func:`~diffmae_video.decoding.open_video`.

    Raises:
        VideoError: the video cannot be read, or has no frame at ``start``.
    """
    height_and_width = (size, size) if isinstance(size, int) else size
    with open_video(path, backend) as video:
        first, end = frame_range(video, Entry(str(path), start))
        (frames,) = read_clips(video, [ClipSampler(num_frames, stride, 0.0).indices(video, first, end)])
    return spatial_crops(frames, height_and_width, 1)


class Views(NamedTuple):
    """The views of one video."""

    video: int  # index of the video in the list
    clips: Tensor  # uint8 [temporal * spatial, T, H, W, 3]; empty if the video could not be read
    fault: str  # why the video could not be read; empty if it could


class ViewDataset(Dataset[Views]):
    """Multi-view clips of each video of a list, decoded in a separate process.

    Args:
        entries: the videos.
        clip_sampler: temporal layout of a clip.
        size: (height, width) in pixels.
        temporal, spatial: number of views, see :func:`read_views`.
        policy: what to do about a video that cannot be read: ``fail`` raises, ``skip`` returns no clips
            and the reason.
        backend, short_side: see :func:`~diffmae_video.decoding.open_video`.
        timeout: seconds allowed for opening a video, and again for reading its frames.

    Raises:
        ValueError: an unknown policy.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        clip_sampler: ClipSampler,
        size: Sequence[int],
        *,
        temporal: int,
        spatial: int,
        policy: str,
        backend: str,
        short_side: int,
        timeout: float,
    ) -> None:
        if policy not in POLICIES:
            raise ValueError(f"unknown policy {policy!r}; choose from {', '.join(POLICIES)}")
        self.entries, self.clip_sampler, self.size = list(entries), clip_sampler, tuple(size)
        self.temporal, self.spatial, self.policy = temporal, spatial, policy
        self.backend, self.short_side = backend, short_side
        self.decoder = DecodingProcess(timeout)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Views:
        """The views of a video.

        Raises:
            VideoError: the video cannot be read and the policy is ``fail``.
        """
        entry = self.entries[index]
        try:
            with TINY_VIDEOS.open(self.decoder, entry.path, self.backend, self.short_side) as video:
                clips = read_views(video, entry, self.clip_sampler, self.size, self.temporal, self.spatial)
        except VideoError as error:
            if self.policy == "fail":
                raise
            empty = torch.empty((0, self.clip_sampler.num_frames, *self.size, 3), dtype=torch.uint8)
            return Views(index, empty, str(error))
        return Views(index, clips, "")


def view_batches(
    dataset: ViewDataset, clips: int, workers: int, pin_memory: bool = False
) -> Iterator[tuple[list[int], Tensor, list[str]]]:
    """Reads a data set whose policy is ``skip``, with a line on stderr for each video that cannot be read.

    Args:
        clips: the most clips of a batch, but at least one video's.
        workers: processes that read ahead, at most; 0 reads in this process.

    Yields:
        The indices of the videos that were read, their clips uint8 [B, T, H, W, 3], and the faults.
    """
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_size=max(1, clips // (dataset.temporal * dataset.spatial)),
        num_workers=min(workers, len(dataset)),
        collate_fn=_join,
        pin_memory=pin_memory,
    )
    for batch in loader:
        for fault in batch[2]:
            tqdm.write(f"left out: {fault}", file=sys.stderr)
        yield batch
    dataset.decoder.stop()


def _join(views: Sequence[Views]) -> tuple[list[int], Tensor, list[str]]:
    read = [x.video for x in views if not x.fault]
    return read, torch.cat([x.clips for x in views]), [x.fault for x in views if x.fault]
