"""Pixels to what models take, and back."""

import torch

from diffmae_video.normalisation import denormalise, normalise
from tests.tiny_models import tiny_diffmae


def test_normalise_and_back():
    clips = torch.randint(0, 256, (2, 3, 4, 5, 3), dtype=torch.uint8)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    out = normalise(clips, mean, std)
    assert out.shape == (2, 3, 3, 4, 5)
    expected = (clips[0, 0, ..., 1].float() / 255 - 0.5) / 0.3
    torch.testing.assert_close(out[0, 1, 0], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(denormalise(out, mean, std), clips.movedim(-1, 1) / 255, atol=1e-6, rtol=1e-5)


def test_a_models_own_pixels_come_back_exactly():
    model = tiny_diffmae()
    pixels = torch.randint(0, 256, (2, 4, 32, 32, 3), dtype=torch.uint8)
    clip = model.normalise(pixels)
    assert clip.shape == (2, 3, 4, 32, 32)
    torch.testing.assert_close(clip[:, 0], (pixels[..., 0] / 255 - model.mean[0]) / model.std[0])
    assert torch.equal(model.denormalise(clip), pixels)
