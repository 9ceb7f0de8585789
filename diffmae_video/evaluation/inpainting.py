"""How good a filled-in clip is, on masked pixels only, and what trivial fills reach.

Pixels are in [0, 1]. PSNR is taken per clip and averaged; ratios pool the clips. Our choices.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffmae_video.data import denormalise, normalise
from diffmae_video.masks import Mask
from diffmae_video.models import Inpainting, MaskedAutoencoder
from diffmae_video.tokens import Triple, patchify, unpatchify


def psnr(fill: Tensor, truth: Tensor, masked: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB over the masked pixels of each clip -> [B].

    Args:
        fill, truth: [B, 3, T, H, W] in [0, 1].
        masked: bool [B, 1, T, H, W].
    """
    error = ((fill - truth) ** 2 * masked).flatten(1).sum(1) / (3 * masked.flatten(1).sum(1))
    return -10 * torch.log10(error.clamp_min(1e-10))


def mean_fill(clip: Tensor, masked: Tensor) -> Tensor:
    """Every masked pixel becomes the mean of the clip's visible pixels, per channel."""
    visible = ~masked
    mean = (clip * visible).sum((2, 3, 4), keepdim=True) / visible.sum((2, 3, 4), keepdim=True)
    return torch.where(masked, mean, clip)


def nearest_fill(clip: Tensor, mask: Mask, patch: Triple) -> Tensor:
    """Every masked patch becomes a copy of the nearest visible one.

    Distance is Euclidean in patches of the grid (t, row, column); of equals the first one counts.
    """
    t, h, w = mask.grid
    index = torch.arange(t * h * w, device=clip.device)
    places = torch.stack([index // (h * w), index // w % h, index % w], dim=1).float()  # [N, 3]
    distance = torch.cdist(places[mask.masked], places[mask.visible])  # [B, M, V]
    source = mask.visible.gather(1, distance.argmin(2))  # [B, M]
    patches = patchify(clip, patch)
    width = patches.shape[-1]
    copied = patches.gather(1, source[..., None].expand(-1, -1, width))
    return unpatchify(
        patches.scatter(1, mask.masked[..., None].expand(-1, -1, width), copied), mask.grid, patch
    )


def std_ratio(fill: Tensor, truth: Tensor, masked: Tensor) -> float:
    """Standard deviation of the masked pixels of the fill over the truth's; 1 is right."""
    return _ratio(_variance(fill, masked), _variance(truth, masked)) ** 0.5


def motion_ratio(fill: Tensor, truth: Tensor, masked: Tensor) -> float:
    """The same of frame-to-frame differences, where both frames' pixels are masked; NaN for images."""
    both = masked[:, :, 1:] & masked[:, :, :-1]
    return _ratio(_energy(fill.diff(dim=2), both), _energy(truth.diff(dim=2), both)) ** 0.5


def gradient_ratio(fill: Tensor, truth: Tensor, masked: Tensor) -> float:
    """Energy of the spatial gradient over the truth's, where both neighbours are masked.

    Below 1 is blur, above 1 noise.
    """
    total = []
    for picture in (fill, truth):
        energy = torch.zeros(len(picture), device=picture.device)
        for dim in (3, 4):
            size = masked.shape[dim] - 1
            both = masked.narrow(dim, 1, size) & masked.narrow(dim, 0, size)
            energy = energy + (picture.diff(dim=dim) ** 2 * both).flatten(1).sum(1)
        total.append(energy)
    return _ratio(*total)


def _variance(clip: Tensor, masked: Tensor) -> Tensor:
    """Per clip [B], over masked pixels, each channel around its own mean."""
    count = masked.sum((2, 3, 4), keepdim=True)
    mean = (clip * masked).sum((2, 3, 4), keepdim=True) / count
    return ((clip - mean) ** 2 * masked).sum((1, 2, 3, 4)) / (3 * count.flatten())


def _energy(difference: Tensor, both: Tensor) -> Tensor:
    return (difference**2 * both).flatten(1).sum(1)


def _ratio(fill: Tensor, truth: Tensor) -> float:
    return float(fill.sum() / truth.sum())


@torch.no_grad()
def evaluate_inpainting(
    model: MaskedAutoencoder,
    clips: Tensor,
    mask: Mask,
    steps: Sequence[int] = (1, 10, 50),
    sampler: str = "ddim",
    seed: int = 0,
) -> tuple[dict[str, float], dict[int, Inpainting]]:
    """Inpaints clips and measures the fill beside the trivial ones.

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
        "first_prediction_psnr": float(psnr(first, truth, masked).mean()),
        "sample_psnr": float(psnr(fill, truth, masked).mean()),
        "sample_std_ratio": std_ratio(fill, truth, masked),
        "sample_motion_ratio": motion_ratio(fill, truth, masked),
        "sample_gradient_ratio": gradient_ratio(fill, truth, masked),
    }
    return metrics, results
