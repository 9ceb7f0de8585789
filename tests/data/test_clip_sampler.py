"""Which frames: against pytorchvideo's samplers, and by times at a variable rate."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorchvideo.data.clip_sampling import ConstantClipsPerVideoSampler, UniformClipSampler

from diffmae_video.data import (
    ClipSampler,
    Entry,
    VideoError,
    open_video,
)
from diffmae_video.data.clip_sampler import (
    covering_starts,
    evenly_spaced_starts,
    frame_range,
    read_clips,
)


def video(times):
    times = np.asarray(times, np.float64)
    return SimpleNamespace(times=times, num_frames=len(times), fps=len(times) / max(times[-1], 1))


def pytorchvideo_starts(sampler, frames, length):
    """Start frames of a video of one frame a second, and of clips of ``length`` seconds."""
    starts, previous = [], 0.0
    while True:
        clip = sampler(previous, Fraction(frames), None)
        starts.append(clip.clip_start_sec)
        if clip.is_last_clip:
            return starts
        previous = clip.clip_end_sec


@settings(max_examples=40)
@given(st.integers(5, 200), st.integers(1, 5), st.integers(2, 10))
def test_evenly_spaced_clips_are_pytorchvideos_and_the_last_one(frames, length, count):
    got = evenly_spaced_starts(frames - length + 1, count)
    # theirs are no whole frames, and stop before the end of the video
    expected = pytorchvideo_starts(ConstantClipsPerVideoSampler(length, count - 1), frames, length)
    assert np.abs(np.array(got[:-1]) - np.array([float(s) for s in expected])).max() <= 0.5
    assert got[-1] == frames - length
    assert evenly_spaced_starts(frames - length + 1, 1) == [(frames - length) // 2]


@settings(max_examples=40)
@given(st.integers(5, 200), st.integers(1, 5))
def test_covering_clips_are_pytorchvideos_and_the_rest(frames, length):
    expected = [float(s) for s in pytorchvideo_starts(UniformClipSampler(length), frames, length)]
    starts = covering_starts(frames - length + 1, length)
    assert starts[: len(expected)] == expected
    covered = {s + i for s in starts for i in range(length)}
    assert covered == set(range(frames))  # without backpad_last theirs leave the last frames out


@given(st.integers(1, 500), st.integers(1, 60), st.integers(1, 30))
def test_starts_are_those_of_earlier_releases(num_starts, length, count):
    """The formulas before pytorchvideo's sampler was used: the frames of reported figures do not change."""
    assert covering_starts(num_starts, length) == sorted({*range(0, num_starts, length), num_starts - 1})
    spread = [round(start) for start in np.linspace(0, num_starts - 1, count)]
    assert evenly_spaced_starts(num_starts, count) == (spread if count > 1 else [(num_starts - 1) // 2])


def test_a_rate_takes_the_nearest_frames_by_time():
    steady = video(np.arange(300) / 30)
    sampling = ClipSampler(4, 2, 10.0)  # every fifth of a second
    assert sampling.indices(steady, 3, 300) == [3, 9, 15, 21]
    assert sampling.num_starts(steady, 0, 300) == 300 - 18
    uneven = video([0, 0.1, 0.35, 0.39, 0.41, 1.0, 1.4, 2.0])
    assert sampling.indices(uneven, 0, 8) == [0, 1, 4, 4]
    assert sampling.indices(uneven, 0, 2) == [0, 1, 1, 1]
    assert sampling.indices(video([0.0]), 0, 1) == [0, 0, 0, 0]


@settings(max_examples=60)
@given(
    st.lists(st.floats(0.01, 1.0), min_size=1, max_size=40),
    st.integers(1, 6),
    st.integers(1, 4),
    st.sampled_from([0.0, 2.0, 12.5]),
    st.data(),
)
def test_frames_ascend_and_stay_inside(gaps, count, stride, fps, data):
    clip = video(np.cumsum([0, *gaps]))
    first = data.draw(st.integers(0, clip.num_frames - 1))
    last = data.draw(st.integers(first + 1, clip.num_frames))
    sampling = ClipSampler(count, stride, fps)
    for start in (0, sampling.num_starts(clip, first, last) - 1):
        indices = sampling.indices(clip, first + start, last)
        assert len(indices) == count
        assert indices == sorted(indices)
        assert indices[0] == first + start
        assert indices[-1] < last


def test_a_stretch_is_by_times(tmp_path):
    uneven = video([0, 0.1, 0.35, 0.39, 0.41, 1.0, 1.4, 2.0])
    assert frame_range(uneven, Entry("a.mp4", 0.35, 1.0)) == (2, 5)
    with pytest.raises(VideoError, match=r"no frame from 2\.5 s to its end"):
        frame_range(uneven, Entry("a.mp4", 2.5))


def test_one_sorted_read_gives_what_single_reads_give(real_clips):
    wanted = [[10, 12, 14], [3, 12, 40], [7, 7, 7]]
    with open_video(real_clips["carphone_pristine"]) as video:
        together = read_clips(video, wanted)
        for clip, indices in zip(together, wanted, strict=True):
            assert np.array_equal(clip, video.frames(indices))


def test_short_videos_repeat_their_last_frame():
    assert ClipSampler(4, 2, 0.0).indices(None, 0, 3) == [0, 2, 2, 2]
    assert ClipSampler(3, 4, 0.0).indices(None, 6, 100) == [6, 10, 14]
