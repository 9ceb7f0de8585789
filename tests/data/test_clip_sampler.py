"""Which frames: against pytorchvideo's samplers, and by times at a variable rate."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorchvideo.data.clip_sampling import ConstantClipsPerVideoSampler, UniformClipSampler

from diffmae_video.data import ClipSampler, Entry, VideoError, open_video, uniform_clips
from diffmae_video.data.clip_sampler import covering_starts, evenly_spaced_starts, frame_range
from diffmae_video.data.transforms import center_crop, spatial_crops
from tests.data.small_datasets import view_dataset


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
def test_constant_clips_are_pytorchvideos_and_the_last_one(frames, length, count):
    got = evenly_spaced_starts(frames - length + 1, count)
    # theirs are no whole frames, and stop before the end of the video
    expected = pytorchvideo_starts(ConstantClipsPerVideoSampler(length, count - 1), frames, length)
    assert np.abs(np.array(got[:-1]) - np.array([float(s) for s in expected])).max() <= 0.5
    assert got[-1] == frames - length
    assert evenly_spaced_starts(frames - length + 1, 1) == [(frames - length) // 2]


@settings(max_examples=40)
@given(st.integers(5, 200), st.integers(1, 5))
def test_uniform_clips_are_pytorchvideos_and_the_rest(frames, length):
    expected = [float(s) for s in pytorchvideo_starts(UniformClipSampler(length), frames, length)]
    got = covering_starts(frames - length + 1, length)
    assert got[: len(expected)] == expected
    covered = {s + i for s in got for i in range(length)}
    assert covered == set(range(frames))  # theirs leave the last frames out


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


@pytest.fixture
def path(real_clips):
    return str(real_clips["carphone_pristine"])


def test_views_are_times_by_crops(path):
    sampling = ClipSampler(4, 2, 0.0)
    views = view_dataset([Entry(path)], sampling, (32, 32), temporal=3, spatial=3)[0]
    assert views.clips.shape == (9, 4, 32, 32, 3)
    with open_video(path) as reader:
        for i, start in enumerate((0, 56, 113)):  # 114 places for a clip of 7 frames
            frames = reader.frames([start, start + 2, start + 4, start + 6])
            assert torch.equal(views.clips[3 * i : 3 * i + 3], spatial_crops(frames, (32, 32), 3))
            assert torch.equal(views.clips[3 * i + 1], center_crop(frames, (32, 32)))
    assert torch.equal(uniform_clips(Entry(path), 3, 4, 2, (32, 32), "pyav"), views.clips[1::3])
    cover = view_dataset([Entry(path)], sampling, (32, 32), temporal=0)[0]
    assert len(cover.clips) == 18  # 120 frames, 7 at a time


def test_crops_go_from_end_to_end():
    frames = np.arange(60, dtype=np.uint8)[None, None, :, None].repeat(20, 1).repeat(3, 3)  # columns 0..59
    crops = spatial_crops(frames, (20, 20), 3)
    assert [int(c[0, 0, 0, 0]) for c in crops] == [0, 20, 40]
    tall = spatial_crops(frames.transpose(0, 2, 1, 3), (20, 20), 3)
    assert [int(c[0, 0, 0, 0]) for c in tall] == [0, 20, 40]


def test_an_evaluation_never_swaps(path, tmp_path):
    entries = [Entry(str(tmp_path / "none.mp4")), Entry(path)]
    skipped = view_dataset(entries, ClipSampler(4, 2, 0.0), (32, 32), policy="skip")
    assert skipped[0].clips.shape == (0, 4, 32, 32, 3)
    assert "none.mp4: no such file" in skipped[0].fault
    assert (skipped[1].fault, len(skipped[1].clips)) == ("", 1)
    with pytest.raises(VideoError, match="no such file"):
        view_dataset(entries, ClipSampler(4, 2, 0.0), (32, 32))[0]
    with pytest.raises(ValueError, match="unknown policy 'swap'; choose from fail, skip"):
        view_dataset(entries, ClipSampler(4, 2, 0.0), (32, 32), policy="swap")
