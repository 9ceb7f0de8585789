"""Class probabilities of a video over time, from overlapping windows."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from diffmae_video.data import ClipSampler, VideoReader

Label = tuple[str, float]  # the name of a class and its probability


class Timeline(NamedTuple):
    """Probabilities over time."""

    seconds: np.ndarray  # the centres of the windows, ascending: [W]
    probabilities: np.ndarray  # [W, classes]

    def at(self, second: float) -> np.ndarray:
        """Probabilities [classes], interpolated linearly between the centres of the windows.

        Before the first centre and after the last one they are constant.
        """
        return np.array([np.interp(second, self.seconds, column) for column in self.probabilities.T])


def most_likely(probabilities: np.ndarray, classes: Sequence[str], count: int) -> list[Label]:
    """The ``count`` classes of highest probability, in descending order.

    Args:
        probabilities: [classes].
    """
    order = np.argsort(-probabilities, kind="stable")[:count]
    return [(classes[i], float(probabilities[i])) for i in order]


def window_indices(video: VideoReader, sampler: ClipSampler) -> list[list[int]]:
    """The frames of clips that start half a clip's duration apart; the last clip ends with the video."""
    last = sampler.num_starts(video, 0, video.num_frames) - 1
    step = sampler.num_frames * sampler.stride / (sampler.fps or video.fps) / 2
    seconds = np.arange(video.times[0], video.times[last], step)
    starts = sorted({*np.searchsorted(video.times, seconds - 1e-6).tolist(), last})
    return [sampler.indices(video, start, video.num_frames) for start in starts]
