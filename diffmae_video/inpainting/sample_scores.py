"""A handful of scores of a model's samples beside fills without a model, as the demo shows them."""

import torch
from torch import Tensor

from diffmae_video.data import denormalise, normalise
from diffmae_video.inpainting.metrics import gradient_ratio, motion_ratio, psnr, std_ratio
from diffmae_video.inpainting.posterior_mean import posterior_mean
from diffmae_video.inpainting.simple_fills import interpolated_fill, mean_fill, nearest_fill
from diffmae_video.masks import Mask
from diffmae_video.models import PretrainingModel

MEAN_SAMPLES, MEAN_STEPS = 8, 10  # few steps, since what they lose in detail the mean would lose anyway


@torch.no_grad()
def score_samples(model: PretrainingModel, clips: Tensor, mask: Mask, steps: int) -> dict[str, float]:
    """Inpaints clips with DDIM and scores the masked pixels.

    Args:
        clips: uint8 [B, T, H, W, 3].
        mask: of the B clips.
        steps: sampling steps.

    Returns:
        The number of ``clips``; in dB ``mean_fill_psnr``, ``nearest_fill_psnr``, ``interpolation_psnr``,
        ``first_prediction_psnr`` (x0 at t = T), ``sample_psnr`` and ``posterior_mean_psnr`` (of
        ``MEAN_SAMPLES`` samples of at most ``MEAN_STEPS`` steps); and the sample's ``sample_std_ratio``,
        ``sample_motion_ratio`` and ``sample_gradient_ratio`` to the truth.
    """
    clip = normalise(clips, model.mean, model.std)
    truth, masked = clips.movedim(-1, 1).float() / 255, mask.to_pixels(model.patch)
    result = model.inpaint(clip, mask, steps=steps, return_steps=True)
    assert result.steps is not None
    sample, first = (
        denormalise(x, model.mean, model.std).clamp(0, 1) for x in (result.clip, result.steps[0])
    )
    mean = posterior_mean(model, clip, mask, MEAN_SAMPLES, min(steps, MEAN_STEPS), seed=0)
    fills = {
        "mean_fill": mean_fill(truth, masked),
        "nearest_fill": nearest_fill(truth, mask, model.patch),
        "interpolation": interpolated_fill(truth, masked),
        "first_prediction": first,
        "sample": sample,
        "posterior_mean": denormalise(mean, model.mean, model.std).clamp(0, 1),
    }
    return {
        "clips": float(len(clips)),
        **{f"{name}_psnr": float(psnr(fill, truth, masked).mean()) for name, fill in fills.items()},
        "sample_std_ratio": std_ratio(sample, truth, masked),
        "sample_motion_ratio": motion_ratio(sample, truth, masked),
        "sample_gradient_ratio": gradient_ratio(sample, truth, masked),
    }
