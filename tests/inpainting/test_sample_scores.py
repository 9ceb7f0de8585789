"""The scores of a model's samples against those of its own calls."""

import pytest
import torch

from diffmae_video import Mask
from diffmae_video.data import denormalise, normalise
from diffmae_video.inpainting.metrics import gradient_ratio, psnr
from diffmae_video.inpainting.sample_scores import score_samples
from diffmae_video.inpainting.simple_fills import interpolated_fill
from tests.tiny_models import tiny_diffmae


def test_scores_are_of_what_the_model_inpainted():
    model = tiny_diffmae()
    clips = torch.randint(0, 256, (2, 4, 32, 32, 3), dtype=torch.uint8)
    mask = Mask.random(2, (2, 4, 4), 0.75, torch.Generator().manual_seed(0))
    scores = score_samples(model, clips, mask, steps=3)
    truth, masked = clips.movedim(-1, 1) / 255, mask.to_pixels(model.patch)
    clip = normalise(clips, model.mean, model.std)
    result = model.inpaint(clip, mask, "ddim", steps=3, seed=0, return_steps=True)
    for name, filled in (("sample", result.clip), ("first_prediction", result.steps[0])):
        fill = denormalise(filled, model.mean, model.std).clamp(0, 1)
        assert scores[f"{name}_psnr"] == pytest.approx(float(psnr(fill, truth, masked).mean()), rel=1e-5)
    sample = denormalise(result.clip, model.mean, model.std).clamp(0, 1)
    assert scores["sample_gradient_ratio"] == pytest.approx(gradient_ratio(sample, truth, masked), rel=1e-5)
    linear = psnr(interpolated_fill(truth, masked), truth, masked).mean()
    assert scores["interpolation_psnr"] == pytest.approx(float(linear), rel=1e-5)
    assert scores["mean_fill_psnr"] > scores["sample_psnr"]  # the model is untrained
    assert scores["clips"] == 2
