"""Clips of pre-training with their masks and timesteps: shapes, keys, and cropping on the device."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from diffmae_video.data import (
    Entry,
    clips_on,
    training_loader,
)
from diffmae_video.data.pretraining_clips import RawClip, draw_colours
from diffmae_video.data.random_clips import SampleKey
from diffmae_video.data.transforms import Crop
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


def test_a_clips_colours_change_as_pillow_changes_them():
    frames = torch.randint(
        0, 256, (3, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    factors = (1.3, 0.6, 0.8)
    changed = RawClip(frames, Crop(0, 0, 8, 8), False, factors).finished((8, 8), torch.device("cpu"))
    for frame, result in zip(frames, changed, strict=True):
        picture = Image.fromarray(frame.numpy())
        for kind, factor in zip(("Brightness", "Contrast", "Color"), factors, strict=True):
            picture = getattr(ImageEnhance, kind)(picture).enhance(factor)
        difference = np.abs(np.asarray(picture).astype(int) - result.numpy())
        assert difference.max() <= 2  # each step rounds
    assert float((changed.float() - frames.float()).abs().mean()) > 10


def test_colour_factors_are_uniform_around_one():
    generator = torch.Generator().manual_seed(0)
    draws = np.array([draw_colours((0.4, 0.2, 0.0), generator) for _ in range(500)])
    assert draws.min(0) == pytest.approx([0.6, 0.8, 1.0], abs=0.01)
    assert draws.max(0) == pytest.approx([1.4, 1.2, 1.0], abs=0.01)
    assert draws.mean(0) == pytest.approx([1.0, 1.0, 1.0], abs=0.04)


def test_colour_jitter_changes_clips_alike_here_and_on_the_device(entries):
    key, jitter = SampleKey(1, 0, 1), (0.4, 0.4, 0.4)
    here = clip_dataset(entries, colour_jitter=jitter)[key]
    there = clip_dataset(entries, colour_jitter=jitter, crop_on_device=True)[key]
    assert torch.equal(clips_on(there.clips, (32, 32), torch.device("cpu")), here.clips)
    plain = clip_dataset(entries)[key].clips
    brightness = here.clips.float().mean((2, 3, 4)) / plain.float().mean((2, 3, 4))  # [R, T]
    assert float((brightness - 1).abs().max()) > 0.02
    assert float(brightness.std(1).max()) < 0.02  # a clip's frames change alike


def test_every_masked_patch_gets_a_timestep_of_its_own(entries):
    dataset, key = clip_dataset(entries, token_timesteps=True), SampleKey(1, 0, 1)
    sample = dataset[key]
    assert sample.t.shape == sample.mask.masked.shape
    assert 1 <= int(sample.t.min()) < int(sample.t.max()) <= 1000
    assert torch.equal(sample.t, dataset[key].t)
