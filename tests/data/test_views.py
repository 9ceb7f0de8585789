"""Views of an evaluation: times by crops, and an unreadable video is never replaced."""

import pytest
import torch

from diffmae_video.data import ClipSampler, Entry, VideoError, open_video, read_clip, uniform_clips
from diffmae_video.data.clip_sampler import frame_range
from diffmae_video.data.transforms import center_crop, spatial_crops
from tests.data.small_datasets import view_dataset


@pytest.fixture
def path(real_clips):
    return str(real_clips["carphone_pristine"])


def test_views_are_times_by_crops(path):
    sampling = ClipSampler(4, 2, 0.0)
    views = view_dataset([Entry(path)], sampling, (32, 32), temporal=3, spatial=3)[0]
    assert views.clips.shape == (9, 4, 32, 32, 3)
    with open_video(path, "pyav") as reader:
        for i, start in enumerate((0, 56, 113)):  # 114 places for a clip of 7 frames
            frames = reader.frames([start, start + 2, start + 4, start + 6])
            assert torch.equal(views.clips[3 * i : 3 * i + 3], spatial_crops(frames, (32, 32), 3))
            assert torch.equal(views.clips[3 * i + 1], center_crop(frames, (32, 32)))
    assert torch.equal(uniform_clips(Entry(path), 3, 4, 2, (32, 32), "pyav"), views.clips[1::3])
    cover = view_dataset([Entry(path)], sampling, (32, 32), temporal=0)[0]
    assert len(cover.clips) == 18  # 120 frames, 7 at a time


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


def test_uniform_clips_stay_inside(real_clips):
    path = str(real_clips["bikes"])
    clips = uniform_clips(Entry(path, 8.0), 3, 4, 2, (32, 48), "pyav")
    assert clips.shape == (3, 4, 32, 48, 3)
    with open_video(path, "pyav") as video:
        assert frame_range(video, Entry(path, 8.0)) == (200, 250)
        assert torch.equal(clips[0, 0], center_crop(video.frames([200]), (32, 48))[0])
        with pytest.raises(VideoError, match="no frame from 11"):
            frame_range(video, Entry(path, 11.0))


def test_a_clip_starts_where_it_is_asked_to(path):
    clip = read_clip(path, num_frames=3, size=(32, 48), stride=2, start=1.0)
    assert clip.shape == (1, 3, 32, 48, 3)
    with open_video(path, "pyav") as reader:
        first = round(reader.fps)
        assert torch.equal(clip[0], center_crop(reader.frames([first, first + 2, first + 4]), (32, 48)))
    with pytest.raises(VideoError):
        read_clip(path, start=1000.0)
