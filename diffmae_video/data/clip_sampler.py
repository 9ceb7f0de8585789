"""Chooses which frames of a video form a clip."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from diffmae_video.data.lists import Entry
from diffmae_video.decoding import VideoError, VideoReader
from diffmae_video.errors import require


class ClipSampler(NamedTuple):
    """The temporal layout of a clip."""

    num_frames: int  # frames per clip
    stride: int  # distance between neighbouring frames of the clip
    # the frame rate in which stride counts; 0 counts the video's own frames. With a rate, the frames
    # nearest in time are taken, which also works at variable frame rates.
    fps: float

    def num_starts(self, video: VideoReader, first: int, end: int) -> int:
        """Number of frames in ``first .. end - 1`` at which a clip can start; at least 1.

        If the stretch is shorter than a clip, the clip starts at ``first`` and repeats the last frame of
        the stretch (our choice).
        """
        if not self.fps:
            return max(1, end - first - (self.num_frames - 1) * self.stride)
        times = video.times
        latest = times[end - 1] - (self.num_frames - 1) * self.stride / self.fps
        return max(1, int(np.searchsorted(times[first:end], latest + 1e-6)))

    def indices(self, video: VideoReader, start: int, end: int) -> list[int]:
        """The frames of a clip that starts at frame ``start``; all of them lie before frame ``end``."""
        if not self.fps:
            return [min(start + i * self.stride, end - 1) for i in range(self.num_frames)]
        if end == 1:
            return [0] * self.num_frames
        times = video.times[:end]
        targets = times[start] + np.arange(self.num_frames) * (self.stride / self.fps)
        after = np.searchsorted(times, targets).clip(1, end - 1)
        nearest = np.where(targets - times[after - 1] <= times[after] - targets, after - 1, after)
        return [int(i) for i in nearest]


def frame_range(video: VideoReader, entry: Entry) -> tuple[int, int]:
    """The range of frames (first, end) that an entry covers; ``end`` is exclusive.

    Raises:
        VideoError: the video has no frame in the entry's stretch of time.
    """
    first, end = 0, video.num_frames
    if entry.start or entry.end is not None:
        times = video.times + 1e-6
        first = int(np.searchsorted(times, entry.start))
        end = end if entry.end is None else int(np.searchsorted(times, entry.end))
    if not first < end:
        until = "its end" if entry.end is None else f"{entry.end} s"
        raise VideoError(
            f"{entry.path}: no frame from {entry.start} s to {until}; the video has {video.num_frames} "
            f"frames and lasts {video.times[-1]:.3f} s"
        )
    return first, end


def evenly_spaced_starts(num_starts: int, count: int) -> list[int]:
    """Starts of ``count`` clips, evenly spaced from the first possible start to the last.

    A single clip lies in the middle. Unlike pytorchvideo's ConstantClipsPerVideoSampler, the last clip
    reaches the end of the video (our choice).
    """
    if count == 1:
        return [(num_starts - 1) // 2]
    return [round(start) for start in np.linspace(0, num_starts - 1, count)]


def covering_starts(num_starts: int, length: int) -> list[int]:
    """Starts of back-to-back clips of ``length`` frames that cover a video.

    The last clip is moved back to end with the video: pytorchvideo's UniformClipSampler at one frame per
    second.

    Raises:
        MissingExtraError: pytorchvideo is not installed.
    """
    sampling = require("pytorchvideo.data.clip_sampling", "train")
    sampler = sampling.UniformClipSampler(Fraction(length), backpad_last=True)
    duration = Fraction(num_starts - 1 + length)
    starts, end, is_last = [], Fraction(0), False
    while not is_last:
        clip = sampler(end, duration, {})
        starts.append(int(clip.clip_start_sec))
        end, is_last = clip.clip_end_sec, clip.is_last_clip
    return starts


def read_clips(video: VideoReader, clips: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Reads several clips, given by their frame indices, in one pass: a list of uint8 [T, H, W, 3]."""
    indices = sorted({i for clip in clips for i in clip})
    frames = video.frames(indices)
    row = {index: i for i, index in enumerate(indices)}
    return [frames[[row[i] for i in clip]] for clip in clips]
