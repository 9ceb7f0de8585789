"""Which frames of a video a clip is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from diffmae_video.data.lists import Entry
from diffmae_video.decoding import VideoError, VideoReader


class ClipSampler(NamedTuple):
    """How the frames of a clip lie in time.

    Attributes:
        num_frames: of a clip.
        stride: from one frame of the clip to the next.
        fps: the rate that the stride counts in, in frames per second; 0 counts the video's own
            frames. With a rate the nearest frames by their times are taken, at variable rates too.
    """

    num_frames: int
    stride: int
    fps: float = 0.0

    def starts(self, video: VideoReader, first: int, last: int) -> int:
        """How many frames of ``first .. last - 1`` a clip can start at: at least 1.

        Where the stretch is shorter than a clip it starts at ``first``, and the stretch's last frame
        is repeated (our choice).
        """
        if not self.fps:
            return max(1, last - first - (self.num_frames - 1) * self.stride)
        times = video.times
        latest = times[last - 1] - (self.num_frames - 1) * self.stride / self.fps
        return max(1, int(np.searchsorted(times[first:last], latest + 1e-6)))

    def indices(self, video: VideoReader, start: int, last: int) -> list[int]:
        """The frames of a clip that starts at ``start``, none from ``last`` on."""
        if not self.fps:
            return [min(start + i * self.stride, last - 1) for i in range(self.num_frames)]
        times = video.times[:last]
        wanted = times[start] + np.arange(self.num_frames) * (self.stride / self.fps)
        after = np.searchsorted(times, wanted).clip(1, max(1, last - 1))
        if last == 1:
            return [0] * self.num_frames
        nearest = np.where(wanted - times[after - 1] <= times[after] - wanted, after - 1, after)
        return [int(i) for i in nearest]


def frame_range(video: VideoReader, entry: Entry) -> tuple[int, int]:
    """The first frame of an entry and the one after its last, by their times.

    Raises:
        VideoError: the entry lies outside the video.
    """
    first, last = 0, video.num_frames
    if entry.start or entry.end is not None:
        times = video.times + 1e-6
        first = int(np.searchsorted(times, entry.start))
        last = last if entry.end is None else int(np.searchsorted(times, entry.end))
    if not first < last:
        raise VideoError(
            f"{entry.path}: nothing from {entry.start} s to {entry.end} s; it has {video.num_frames} frames"
        )
    return first, last


def constant_starts(starts: int, count: int) -> list[int]:
    """``count`` clips for each video, however long: evenly from its first start to its last; one: amid."""
    return [round(s) for s in np.linspace(0, starts - 1, count)] if count > 1 else [(starts - 1) // 2]


def uniform_starts(starts: int, length: int) -> list[int]:
    """As many clips as cover a video: one after the other, ``length`` frames apart, and the last one."""
    return sorted({*range(0, starts, length), starts - 1})


def read_clips(video: VideoReader, indices: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Several clips in one sorted read: a list of uint8 [T, H, W, 3]."""
    wanted = sorted({i for clip in indices for i in clip})
    frames = video.frames(wanted)
    place = {index: i for i, index in enumerate(wanted)}
    return [frames[[place[i] for i in clip]] for clip in indices]
