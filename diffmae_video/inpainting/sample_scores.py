"""A model's samples of a few masked clips in a handful of figures, as the demo shows them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffmae_video.data import denormalise, normalise
from diffmae_video.inpainting.metrics import gradient_ratio, motion_ratio, psnr, std_ratio
from diffmae_video.inpainting.simple_fills import interpolated_fill, mean_fill, nearest_fill
from diffmae_video.masks import Mask
from diffmae_video.models import Inpainting, MaskedAutoencoder


@torch.no_grad()
def score_samples(
    model: MaskedAutoencoder,
    clips: Tensor,
    mask: Mask,
    steps: Sequence[int] = (1, 10, 50),
    sampler: str = "ddim",
    seed: int = 0,
) -> tuple[dict[str, float], dict[int, Inpainting]]:
    """Inpaints clips and measures the fill beside the trivial ones, on masked pixels.

    Args:
        clips: uint8 [B, T, H, W, 3].
        mask: of the B clips.
        steps: numbers of sampling steps; the metrics speak of the largest.

    Returns:
        The metrics by name, and what ``inpaint`` gave for each number of steps.
    """
    clip = normalise(clips, model.mean, model.std)
    truth, masked = clips.movedim(-1, 1).float() / 255, mask.to_pixels(model.patch)
    results = {n: model.inpaint(clip, mask, sampler, n, seed, return_steps=True) for n in steps}
    last = results[max(steps)]
    assert last.steps is not None
    fill, first = (denormalise(x, model.mean, model.std).clamp(0, 1) for x in (last.clip, last.steps[0]))
    metrics = {
        "clips": float(len(clips)),
        "mean_fill_psnr": float(psnr(mean_fill(truth, masked), truth, masked).mean()),
        "nearest_fill_psnr": float(psnr(nearest_fill(truth, mask, model.patch), truth, masked).mean()),
        "interpolation_psnr": float(psnr(interpolated_fill(truth, masked), truth, masked).mean()),
        "first_prediction_psnr": float(psnr(first, truth, masked).mean()),
        "sample_psnr": float(psnr(fill, truth, masked).mean()),
        "sample_std_ratio": std_ratio(fill, truth, masked),
        "sample_motion_ratio": motion_ratio(fill, truth, masked),
        "sample_gradient_ratio": gradient_ratio(fill, truth, masked),
    }
    return metrics, results
