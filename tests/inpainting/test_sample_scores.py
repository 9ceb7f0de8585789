"""The figures of a model's samples against those of its own calls."""

import math

import torch

from diffmae_video import Mask
from diffmae_video.inpainting.metrics import psnr
from diffmae_video.inpainting.sample_scores import score_samples
from diffmae_video.inpainting.simple_fills import interpolated_fill
from tests.tiny_models import tiny_diffmae


def test_scores_are_of_what_the_model_inpainted():
    model = tiny_diffmae()
    clips = torch.randint(0, 256, (2, 4, 32, 32, 3), dtype=torch.uint8)
    mask = Mask.random(2, (2, 4, 4), 0.75, torch.Generator().manual_seed(0))
    metrics, results = score_samples(model, clips, mask, steps=(1, 3))
    assert set(results) == {1, 3}
    truth = clips.movedim(-1, 1) / 255
    fill = results[3].clip * torch.tensor(model.std).view(3, 1, 1, 1) + torch.tensor(model.mean).view(
        3, 1, 1, 1
    )
    masked = mask.to_pixels(model.patch)
    assert math.isclose(metrics["sample_psnr"], psnr(fill.clamp(0, 1), truth, masked).mean(), rel_tol=1e-5)
    linear = psnr(interpolated_fill(truth, masked), truth, masked).mean()
    assert math.isclose(metrics["interpolation_psnr"], linear, rel_tol=1e-5)
    assert metrics["mean_fill_psnr"] > metrics["sample_psnr"]  # an untrained model
