"""Tiny videos are decoded once, and give the same samples as if they were decoded every time."""

import numpy as np
import pytest
import torch

from diffmae_video.data import Entry, random_clips
from diffmae_video.data.random_clips import SampleKey
from diffmae_video.decoding import DecodingProcess, open_video
from diffmae_video.decoding.tiny_videos import KEPT_BYTES, KeptVideo, TinyVideos
from tests.data.small_datasets import clip_dataset
from tests.decoding.transcodes import write_variant


@pytest.fixture
def decoder():
    with DecodingProcess(30) as process:
        yield process


@pytest.fixture
def videos():
    return TinyVideos(KEPT_BYTES)


@pytest.fixture
def damaged(tmp_path):
    """Sixteen tiny frames, the last eight of which are cut off."""
    path, chance = tmp_path / "damaged.avi", np.random.default_rng(0)
    frames = list(chance.integers(0, 255, (16, 64, 64, 3), np.uint8))
    write_variant(path, frames, "mpeg4", {"g": "1"}, {})
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) * 9 // 10] = bytes(len(data) * 9 // 10 - len(data) // 2)
    path.write_bytes(data)
    return path


def samples(entries, **changes):
    data = clip_dataset(entries, **changes)
    keys = [SampleKey(3 * epoch + row, epoch, row) for epoch in range(4) for row in range(len(entries))]
    return [data[key] for key in keys]


def test_samples_are_the_same_as_without_keeping(films, monkeypatch):
    paths = sorted(films.glob("*.mp4"))[:3]
    entries = [Entry(str(paths[0])), Entry(str(paths[1]), 0.1, 0.4), Entry(str(paths[2]))]
    for changes in ({"fps": 0.0}, {"fps": 10.0, "stride": 1}, {"short_side": 40}):
        both = []
        for limit in (KEPT_BYTES, 0):
            videos = TinyVideos(limit)
            monkeypatch.setattr(random_clips, "TINY_VIDEOS", videos)
            both.append(samples(entries, **changes))
            assert len(videos.kept) == (3 if limit else 0)
        for kept, decoded in zip(*both, strict=True):
            assert torch.equal(kept.clips, decoded.clips)
            assert torch.equal(kept.t, decoded.t)


def test_a_kept_video_is_not_decoded_again(videos, decoder, films):
    path = min(films.glob("*.mp4"))
    with videos.open(decoder, path, "pyav", 0) as first:
        frames = first.frames([0, 5, 5, 9])
    decoder.stop()
    with videos.open(decoder, path, "pyav", 0) as again:
        assert decoder.process is None
        assert np.array_equal(again.frames([0, 5, 5, 9]), frames)
        with open_video(path, "pyav") as truth:
            assert np.array_equal(again.frames(range(16)), truth.frames(range(16)))
            assert np.array_equal(again.times, truth.times)
            assert again.content() == truth.content()
            for name in ("path", "num_frames", "fps", "duration", "height", "width", "aspect", "colours"):
                assert getattr(again, name) == getattr(truth, name)


def test_another_size_or_a_new_file_is_decoded(videos, decoder, films, tmp_path):
    path = tmp_path / "film.mp4"
    first, second = sorted(films.glob("*.mp4"))[:2]
    path.write_bytes(first.read_bytes())
    whole = videos.open(decoder, path, "pyav", 0).frames([0])
    assert videos.open(decoder, path, "pyav", 32).frames([0]).shape == (1, 32, 32, 3)
    path.write_bytes(second.read_bytes())
    assert not np.array_equal(videos.open(decoder, path, "pyav", 0).frames([0]), whole)


def test_frames_that_were_handed_out_can_be_changed(videos, decoder, films):
    path = min(films.glob("*.mp4"))
    frames = videos.open(decoder, path, "pyav", 0).frames([0, 1])
    frames[:] = 0
    assert videos.open(decoder, path, "pyav", 0).frames([0, 1]).any()


def test_large_videos_and_those_beyond_the_limit_are_not_kept(decoder, films, real_clips):
    size = 16 * 64 * 64 * 3
    first, second = sorted(films.glob("*.mp4"))[:2]
    videos = TinyVideos(2 * size - 1)
    for path, is_kept in ((first, True), (second, False), (first, True)):
        with videos.open(decoder, path, "pyav", 0) as video:
            assert isinstance(video, KeptVideo) == is_kept
    with TinyVideos(KEPT_BYTES).open(decoder, real_clips["bikes"], "pyav", 0) as video:
        assert not isinstance(video, KeptVideo)


def test_a_store_is_asked_every_time(videos, decoder, films, monkeypatch):
    """Nothing says whether a file in a store has changed."""
    local, asked = min(films.glob("*.mp4")), []
    original = decoder.open
    monkeypatch.setattr(decoder, "open", lambda path, *rest: (asked.append(path), original(local, *rest))[1])
    for path in ("s3://films/film.mp4", "shard-000000.tar@512+1000/film.mp4"):
        for _ in range(2):
            with videos.open(decoder, path, "pyav", 0) as video:
                assert not isinstance(video, KeptVideo)
    assert len(asked) == 4


def test_the_good_frames_of_a_damaged_video_are_still_read(videos, decoder, damaged):
    for _ in range(2):
        with videos.open(decoder, damaged, "pyav", 0) as video:
            assert not isinstance(video, KeptVideo)
            assert video.frames([0, 1]).any()
    assert list(videos.kept.values()) == [None]
