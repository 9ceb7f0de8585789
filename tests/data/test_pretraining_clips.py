"""Clips of pre-training with their masks and timesteps: shapes, keys, and cropping on the device."""

import pytest
import torch

from diffmae_video.data import (
    Entry,
    clips_on,
    training_loader,
)
from diffmae_video.data.random_clips import SampleKey
from tests.data.small_datasets import clip_dataset


@pytest.fixture
def entries(real_clips):
    return [Entry(str(real_clips["bikes"]), 0, 8.0), Entry(str(real_clips["carphone_pristine"]))]


def test_items_have_the_stated_shapes_and_depend_on_the_key_alone(entries):
    one, two = clip_dataset(entries), clip_dataset(entries)
    item = one[SampleKey(1, 0, 1)]
    assert item.clips.dtype == torch.uint8
    assert item.clips.shape == (2, 4, 32, 32, 3)
    assert item.mask.visible.shape == (2, 8)
    assert item.t.shape == (2,)
    assert int(item.t.min()) >= 1
    for key in (SampleKey(1, 0, 1), SampleKey(6, 3, 0)):
        a, b = one[key], two[key]
        assert torch.equal(a.clips, b.clips)
        assert torch.equal(a.mask.masked, b.mask.masked)
        assert torch.equal(a.t, b.t)
    assert not torch.equal(one[SampleKey(1, 0, 1)].clips, one[SampleKey(3, 1, 1)].clips)
    assert not torch.equal(item.clips[0], item.clips[1])


def test_the_training_device_can_crop(entries):
    here, there = clip_dataset(entries), clip_dataset(entries, crop_on_device=True)
    loaded = next(iter(training_loader(there, 2, 2)))
    expected = next(iter(training_loader(here, 2, 2)))
    assert len(loaded.clips) == 4
    assert {clip.frames.shape[1:] for clip in loaded.clips} == {(272, 640, 3), (144, 176, 3)}
    assert torch.equal(clips_on(loaded.clips, (32, 32), torch.device("cpu")), expected.clips)
    assert torch.equal(loaded.mask.masked, expected.mask.masked)


def test_every_masked_patch_gets_a_timestep_of_its_own(entries):
    dataset, key = clip_dataset(entries, token_timesteps=True), SampleKey(1, 0, 1)
    sample = dataset[key]
    assert sample.t.shape == sample.mask.masked.shape
    assert 1 <= int(sample.t.min()) < int(sample.t.max()) <= 1000
    assert torch.equal(sample.t, dataset[key].t)
