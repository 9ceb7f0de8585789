"""Probabilities over time, and the windows that they come from."""

import numpy as np
import pytest

from diffmae_video.data import ClipSampler
from diffmae_video.decoding import open_video
from diffmae_video.encoding.clips import write_video
from diffmae_video.evaluation.timeline import Timeline, most_likely, window_indices

FPS, FRAMES = 10, 60


def test_time_between_windows_is_linear():
    timeline = Timeline(np.array([1.0, 2.0, 4.0]), np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]))
    for second in (0, 1, 1.25, 2, 3.5, 4, 9):
        expected = [np.interp(second, timeline.seconds, p) for p in timeline.probabilities.T]
        assert timeline.at(second) == pytest.approx(expected)


def test_windows_cover_the_video_half_a_clip_apart(tmp_path):
    write_video(tmp_path / "film.mp4", np.zeros((FRAMES, 16, 16, 3), np.uint8), FPS)
    with open_video(tmp_path / "film.mp4", "pyav") as video:
        windows = window_indices(video, ClipSampler(4, 2, 0.0))
        by_rate = window_indices(video, ClipSampler(4, 2, FPS / 2))
    assert [clip[0] for clip in windows] == [*range(0, 53, 4), 53]  # clips of 4 x 2 frames, the last at 53
    assert windows[-1] == [53, 55, 57, 59]
    assert [clip[0] for clip in by_rate] == [*range(0, 47, 8), 47]  # twice as long
    assert by_rate[1] == [8, 12, 16, 20]


def test_the_most_likely_classes_come_first():
    labels = most_likely(np.array([0.2, 0.5, 0.2, 0.1]), ["a", "b", "c", "d"], 3)
    assert labels == [("b", 0.5), ("a", 0.2), ("c", 0.2)]
