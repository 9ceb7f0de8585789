"""Crops, resizing and normalisation, compared with torchvision and PyTorch."""

import numpy as np
import torch
import torchvision.transforms.v2.functional as tv
from hypothesis import given, settings
from hypothesis import strategies as st

from diffmae_video.data.transforms import (
    Crop,
    random_resized_crop,
    resized_crop,
    spatial_crops,
)


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


def test_crops_go_from_end_to_end():
    frames = np.arange(60, dtype=np.uint8)[None, None, :, None].repeat(20, 1).repeat(3, 3)  # columns 0..59
    crops = spatial_crops(frames, (20, 20), 3)
    assert [int(c[0, 0, 0, 0]) for c in crops] == [0, 20, 40]
    tall = spatial_crops(frames.transpose(0, 2, 1, 3), (20, 20), 3)
    assert [int(c[0, 0, 0, 0]) for c in tall] == [0, 20, 40]
