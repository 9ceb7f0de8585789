"""The clips of a video that an evaluation looks at: the same ones each time, and none swapped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from diffmae_video.data.clip_sampler import (
    ClipSampler,
    constant_starts,
    frame_range,
    read_clips,
    uniform_starts,
)
from diffmae_video.data.lists import Entry
from diffmae_video.data.transforms import spatial_crops
from diffmae_video.decoding import DecodingProcess, VideoError, VideoReader, open_video

POLICIES = ("fail", "skip")


def read_views(
    video: VideoReader, entry: Entry, sampling: ClipSampler, size: Sequence[int], temporal: int, spatial: int
) -> Tensor:
    """The views of an open video: uint8 [temporal * spatial, T, H, W, 3], time by time.

    Args:
        temporal: clips, spread evenly over the entry; 0 takes as many as cover it.
        spatial: crops of each, spread evenly along the longer side.
    """
    first, last = frame_range(video, entry)
    starts = sampling.starts(video, first, last)
    if temporal:
        begin = constant_starts(starts, temporal)
    else:
        clip = sampling.indices(video, first, last)
        begin = uniform_starts(starts, clip[-1] - clip[0] + 1)
    decoded = read_clips(video, [sampling.indices(video, first + s, last) for s in begin])
    return torch.cat([spatial_crops(frames, size, spatial) for frames in decoded])


def uniform_clips(
    entry: Entry, count: int, num_frames: int, stride: int, size: Sequence[int], backend: str = "decord"
) -> Tensor:
    """Clips spread evenly over an entry, centre-cropped: uint8 [count, T, H, W, 3].

    Raises:
        VideoError: the video cannot be read.
    """
    with open_video(entry.path, backend) as video:
        return read_views(video, entry, ClipSampler(num_frames, stride), size, count, 1)


class Views(NamedTuple):
    """The views of one video.

    Attributes:
        video: its place in the list.
        clips: uint8 [n * m, T, H, W, 3]; none of them where it could not be read.
        fault: why it could not be read, or empty.
    """

    video: int
    clips: Tensor
    fault: str


class ViewDataset(Dataset[Views]):
    """Multi-view clips of each video of a list, decoded in a process apart.

    Args:
        entries: the videos.
        sampling: of a clip.
        size: (height, width) in pixels.
        temporal, spatial: views, see :func:`read_views`.
        policy: for a video that cannot be read: ``fail``, or ``skip``, which gives its fault and no
            clips. An evaluation never reads another in its place.
        backend, short_side, timeout: see :class:`~diffmae_video.data.pretraining_clips.ClipDataset`.

    Raises:
        ValueError: an unknown policy.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        sampling: ClipSampler,
        size: Sequence[int],
        temporal: int = 1,
        spatial: int = 1,
        policy: str = "fail",
        backend: str = "decord",
        short_side: int = 0,
        timeout: float = 60.0,
    ) -> None:
        if policy not in POLICIES:
            raise ValueError(f"unknown policy {policy!r}; there are {', '.join(POLICIES)}")
        self.entries, self.sampling, self.size = list(entries), sampling, tuple(size)
        self.temporal, self.spatial, self.policy = temporal, spatial, policy
        self.backend, self.short_side = backend, short_side
        self.decoder = DecodingProcess(timeout)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Views:
        """The views of a video.

        Raises:
            VideoError: it cannot be read, and the policy is ``fail``.
        """
        entry = self.entries[index]
        try:
            with self.decoder.open(entry.path, self.backend, self.short_side) as video:
                clips = read_views(video, entry, self.sampling, self.size, self.temporal, self.spatial)
        except VideoError as error:
            if self.policy == "fail":
                raise
            none = torch.empty((0, self.sampling.num_frames, *self.size, 3), dtype=torch.uint8)
            return Views(index, none, str(error))
        return Views(index, clips, "")
