"""Clips, their order, and lists."""

import itertools

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tv
from hypothesis import given, settings
from hypothesis import strategies as st

from diffmae_video.data import (
    Entry,
    VideoError,
    clips_on,
    open_video,
    read_list,
    training_loader,
    uniform_clips,
)
from diffmae_video.data.clip_sampler import ClipSampler, frame_range, read_clips
from diffmae_video.data.loader import EpochSampler
from diffmae_video.data.transforms import (
    Crop,
    center_crop,
    denormalise,
    normalise,
    random_resized_crop,
    resized_crop,
)
from tests.data.small_datasets import clip_dataset


@pytest.fixture
def entries(real_clips):
    return [Entry(str(real_clips["bikes"]), 0, 8.0), Entry(str(real_clips["carphone_pristine"]))]


def test_items_have_the_stated_shapes_and_depend_on_the_key_alone(entries):
    one, two = clip_dataset(entries), clip_dataset(entries)
    item = one[0, 1]
    assert item.clips.dtype == torch.uint8
    assert item.clips.shape == (2, 4, 32, 32, 3)
    assert item.mask.visible.shape == (2, 8)
    assert item.t.shape == (2,)
    assert int(item.t.min()) >= 1
    for key in ((0, 1), (3, 0)):
        a, b = one[key], two[key]
        assert torch.equal(a.clips, b.clips)
        assert torch.equal(a.mask.masked, b.mask.masked)
        assert torch.equal(a.t, b.t)
    assert not torch.equal(one[0, 1].clips, one[1, 1].clips)
    assert not torch.equal(item.clips[0], item.clips[1])


def test_the_training_device_can_crop(entries):
    here, there = clip_dataset(entries), clip_dataset(entries, crop_on_device=True)
    loaded = next(iter(training_loader(there, 2, 2)))
    expected = next(iter(training_loader(here, 2, 2)))
    assert len(loaded.clips) == 4
    assert {clip.frames.shape[1:] for clip in loaded.clips} == {(272, 640, 3), (144, 176, 3)}
    assert torch.equal(clips_on(loaded.clips, (32, 32), torch.device("cpu")), expected.clips)
    assert torch.equal(loaded.mask.masked, expected.mask.masked)


def test_training_never_reads_outside_its_stretch(entries, monkeypatch):
    read = []
    original = read_clips
    monkeypatch.setattr(
        "diffmae_video.data.random_clips.read_clips",
        lambda v, i: (read.extend(itertools.chain(*i)), original(v, i))[1],
    )
    data = clip_dataset([Entry(entries[0].path, 1.0, 2.0)], repeats=8)
    for epoch in range(5):
        data[epoch, 0]
    assert min(read) >= 25
    assert max(read) <= 49  # 2 s at 25 frames a second is frame 50
    assert {25, 49} <= set(read)


def test_order_is_the_same_for_any_workers_and_ranks(entries):
    def batches(workers, world, count):
        loaders = [
            iter(training_loader(clip_dataset(entries * 3), 1, workers, rank, world)) for rank in range(world)
        ]
        return [next(loader).clips for _ in range(count) for loader in loaders]

    expected = batches(0, 1, 8)
    for workers, world in ((1, 1), (3, 1), (2, 2)):
        got = batches(workers, world, 8 // world)
        assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True)), (workers, world)
    resumed = iter(training_loader(clip_dataset(entries * 3), 1, 1, start=5))
    assert all(torch.equal(next(resumed).clips, clips) for clips in expected[5:])


@settings(max_examples=30)
@given(st.integers(1, 20), st.integers(1, 4), st.integers(0, 50))
def test_each_epoch_reads_each_sample_once(count, world, seed):
    streams = [iter(EpochSampler(count, seed, rank, world)) for rank in range(world)]
    stream = [next(s) for _ in range(3 * count) for s in streams]
    for epoch in range(3):
        assert sorted(i for e, i in stream if e == epoch) == list(range(count))


def test_a_broken_video_is_replaced_by_the_same_one_each_time(entries, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    data = clip_dataset([Entry(str(broken)), *entries])
    assert torch.equal(data[0, 0].clips, data[0, 0].clips)
    with pytest.raises(VideoError, match=r"30 videos in a row.*broken\.mp4"):
        clip_dataset([Entry(str(broken))])[0, 0]


def test_one_sorted_read_gives_what_single_reads_give(real_clips):
    wanted = [[10, 12, 14], [3, 12, 40], [7, 7, 7]]
    with open_video(real_clips["carphone_pristine"]) as video:
        together = read_clips(video, wanted)
        for clip, indices in zip(together, wanted, strict=True):
            assert np.array_equal(clip, video.frames(indices))


def test_short_videos_repeat_their_last_frame():
    assert ClipSampler(4, 2, 0.0).indices(None, 0, 3) == [0, 2, 2, 2]
    assert ClipSampler(3, 4, 0.0).indices(None, 6, 100) == [6, 10, 14]


def test_uniform_clips_stay_inside(real_clips):
    path = str(real_clips["bikes"])
    clips = uniform_clips(Entry(path, 8.0), 3, 4, 2, (32, 48), "pyav")
    assert clips.shape == (3, 4, 32, 48, 3)
    with open_video(path) as video:
        assert frame_range(video, Entry(path, 8.0)) == (200, 250)
        assert torch.equal(clips[0, 0], center_crop(video.frames([200]), (32, 48))[0])
        with pytest.raises(VideoError, match="no frame from 11"):
            frame_range(video, Entry(path, 11.0))


def test_crops_are_torchvisions():
    frames = np.random.default_rng(0).integers(0, 256, (3, 40, 60, 3), np.uint8)
    expected = tv.resized_crop(
        torch.from_numpy(frames).permute(0, 3, 1, 2), 5, 7, 30, 41, [16, 24], antialias=True
    )
    got = resized_crop(frames, Crop(5, 7, 30, 41), (16, 24)).permute(0, 3, 1, 2)
    assert (got.int() - expected.int()).abs().max() <= 1


@settings(max_examples=40)
@given(st.integers(9, 80), st.integers(9, 80), st.floats(0.1, 1.0), st.integers(0, 1000))
def test_random_crops_fit_any_frame(height, width, low, seed):
    frames = np.full((2, height, width, 3), 77, np.uint8)
    crop = random_resized_crop(frames, (8, 12), torch.Generator().manual_seed(seed), (low, 1.0))
    assert crop.shape == (2, 8, 12, 3)
    assert (crop == 77).all()


def test_normalise_and_back():
    clips = torch.randint(0, 256, (2, 3, 4, 5, 3), dtype=torch.uint8)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    out = normalise(clips, mean, std)
    assert out.shape == (2, 3, 3, 4, 5)
    expected = (clips[0, 0, ..., 1].float() / 255 - 0.5) / 0.3
    torch.testing.assert_close(out[0, 1, 0], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(denormalise(out, mean, std), clips.movedim(-1, 1) / 255, atol=1e-6, rtol=1e-5)


def test_list_paths_are_relative_to_the_list_and_folders_are_lists(tmp_path, real_clips):
    (tmp_path / "list.csv").write_text("path\nsub/a b.mp4\n")
    assert read_list(tmp_path / "list.csv") == [Entry(str(tmp_path / "sub/a b.mp4"))]
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a b.mp4").symlink_to(real_clips["bikes"])
    assert read_list(tmp_path) == [Entry(str(tmp_path / "sub/a b.mp4"))]
