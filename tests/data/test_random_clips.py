"""Random clips: a function of their key, inside their stretch, and replaced if unreadable."""

import itertools

import pytest
import torch

from diffmae_video.data import (
    Entry,
    VideoError,
)
from diffmae_video.data.clip_sampler import read_clips
from diffmae_video.data.random_clips import SampleKey
from tests.data.small_datasets import clip_dataset


@pytest.fixture
def entries(real_clips):
    return [Entry(str(real_clips["bikes"]), 0, 8.0), Entry(str(real_clips["carphone_pristine"]))]


def test_training_never_reads_outside_its_stretch(entries, monkeypatch):
    read = []
    original = read_clips
    monkeypatch.setattr(
        "diffmae_video.data.random_clips.read_clips",
        lambda v, i: (read.extend(itertools.chain(*i)), original(v, i))[1],
    )
    data = clip_dataset([Entry(entries[0].path, 1.0, 2.0)], repeats=8)
    for epoch in range(5):
        data[SampleKey(epoch, epoch, 0)]
    assert min(read) >= 25
    assert max(read) <= 49  # 2 s at 25 frames a second is frame 50
    assert {25, 49} <= set(read)


def test_a_broken_video_is_replaced_by_the_same_one_each_time(entries, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    data = clip_dataset([Entry(str(broken)), *entries])
    assert torch.equal(data[SampleKey(0, 0, 0)].clips, data[SampleKey(0, 0, 0)].clips)
    with pytest.raises(VideoError, match=r"30 videos in a row.*broken\.mp4"):
        clip_dataset([Entry(str(broken))])[SampleKey(0, 0, 0)]
