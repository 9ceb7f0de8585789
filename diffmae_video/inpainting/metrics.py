"""Metrics of filled clips against the truth, over a region of the pixels: the masked ones, or all.

Clips are [B, 3, T, H, W] with pixels in [0, 1]; a region is bool [B, 1, T, H, W]. PSNR, SSIM and LPIPS are
computed for each clip and then averaged. Ratios to the truth pool all clips. Both are our choice.
"""

import torch
from einops import rearrange
from torch import Tensor

from diffmae_video.errors import require
from diffmae_video.masks import Mask
from diffmae_video.tokens import Triple, gather_tokens, patchify

ROUNDING = 1 / 255**2 / 12  # variance of the error of rounding to 8 bits


def psnr(fill: Tensor, truth: Tensor, region: Tensor) -> Tensor:
    """Peak signal-to-noise ratio over a region of each clip, in dB, at most 100: [B]."""
    error = ((fill - truth) ** 2 * region).flatten(1).sum(1) / (3 * region.flatten(1).sum(1))
    return -10 * torch.log10(error.clamp_min(1e-10))


def ssim_map(fill: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity at each pixel of each frame, averaged over the channels: [B, 1, T, H, W].

    Computed by torchmetrics in Gaussian windows of 11 pixels with sigma 1.5 (Wang et al. 2004), with frames
    mirrored at their edges. The window of a masked pixel may contain visible ones, so seams count.

    Raises:
        MissingExtraError: torchmetrics is not installed.
    """
    metrics = require("torchmetrics.functional.image", "metrics")
    maps = []
    for one, other in zip(fill, truth, strict=True):  # clip by clip, since it keeps five maps in memory
        _, picture = metrics.structural_similarity_index_measure(
            one.transpose(0, 1), other.transpose(0, 1), data_range=1.0, return_full_image=True
        )
        maps.append(picture.mean(1))
    return torch.stack(maps)[:, None]


def region_mean(values: Tensor, region: Tensor) -> Tensor:
    """The mean of values [B, 1, T, H, W] over a region of each clip: [B]."""
    return (values * region).flatten(1).sum(1) / region.flatten(1).sum(1)


def std_ratio(fill: Tensor, truth: Tensor, region: Tensor) -> float:
    """Standard deviation of the fill's pixels divided by the truth's; 1 is right."""
    return _ratio(_variance(fill, region), _variance(truth, region)) ** 0.5


def motion_ratio(fill: Tensor, truth: Tensor, region: Tensor) -> float:
    """Root mean square of frame-to-frame differences divided by the truth's; NaN for images.

    Pixels count where they are in the region in both frames.
    """
    both = region[:, :, 1:] & region[:, :, :-1]
    return _ratio(_energy(fill.diff(dim=2), both), _energy(truth.diff(dim=2), both)) ** 0.5


def gradient_ratio(fill: Tensor, truth: Tensor, region: Tensor) -> float:
    """Energy of the spatial gradient divided by the truth's; below 1 is blur, above 1 noise."""
    return _ratio(gradient_energy(fill, region), gradient_energy(truth, region))


def gradient_energy(clip: Tensor, region: Tensor) -> Tensor:
    """Sum of squared differences of neighbouring pixels that are both in the region: [B]."""
    energy = torch.zeros(len(clip), device=clip.device)
    for dim in (3, 4):
        size = region.shape[dim] - 1
        both = region.narrow(dim, 1, size) & region.narrow(dim, 0, size)
        energy = energy + _energy(clip.diff(dim=dim), both)
    return energy


def flicker(clip: Tensor, region: Tensor) -> Tensor:
    """Sum of |x[t + 1] - x[t]| over pixels that are in the region in both frames: [B].

    Nothing is warped, so motion counts too. Divided by the truth's, 1 is right; below 1 a fill is frozen,
    above 1 it flickers.
    """
    both = region[:, :, 1:] & region[:, :, :-1]
    return (clip.diff(dim=2).abs() * both).flatten(1).sum(1)


def masked_patches(clip: Tensor, mask: Mask, patch: Triple) -> Tensor:
    """The masked patches as pictures of one channel of one frame: [n, p, q]."""
    a, p, q = patch
    patches = gather_tokens(patchify(clip, patch), mask.masked)  # [B, M, P]
    return rearrange(patches, "b m (a p q c) -> (b m a c) p q", a=a, p=p, q=q)


def radial_spectrum(pictures: Tensor) -> Tensor:
    """Power by spatial frequency, averaged over directions: pictures [n, h, w] -> [n, F], F = min(h, w) // 2.

    Entry k - 1 belongs to k periods along the shorter side. The mean is removed and a Hann window applied, so
    that the picture's edges do not count as detail. White noise of variance v has power v at every frequency.
    """
    height, width = pictures.shape[1:]
    side = min(height, width)
    y, x = (
        torch.hann_window(n + 2, periodic=False, device=pictures.device)[1:-1] for n in (height, width)
    )  # without the window's zeros at both ends
    window = y[:, None] * x
    mean = (pictures * window).sum((1, 2), keepdim=True) / window.sum()
    power = torch.fft.fft2((pictures - mean) * window).abs() ** 2 / (window**2).sum()  # [n, h, w]
    frequency = torch.hypot(
        torch.fft.fftfreq(height, device=pictures.device)[:, None],
        torch.fft.fftfreq(width, device=pictures.device),
    )
    ring = (frequency * side).round().long().flatten()
    rings = torch.zeros(len(pictures), int(ring.max()) + 1, device=pictures.device)
    rings.index_add_(1, ring, power.flatten(1))
    return (rings / ring.bincount())[:, 1 : side // 2 + 1]


def spectrum_distance(fill: Tensor, truth: Tensor) -> float:
    """Distance of two mean spectra [F] in dB: the mean over frequencies of |10 log10 ratio|.

    The power of rounding errors is added to both, so that a constant fill has a finite distance.
    """
    return float((10 * ((fill + ROUNDING) / (truth + ROUNDING)).log10()).abs().mean())


def _variance(clip: Tensor, region: Tensor) -> Tensor:
    """The variance over a region of each clip, each channel around its own mean: [B]."""
    count = region.sum((2, 3, 4), keepdim=True)
    mean = (clip * region).sum((2, 3, 4), keepdim=True) / count
    return ((clip - mean) ** 2 * region).sum((1, 2, 3, 4)) / (3 * count.flatten())


def _energy(difference: Tensor, both: Tensor) -> Tensor:
    return (difference**2 * both).flatten(1).sum(1)


def _ratio(fill: Tensor, truth: Tensor) -> float:
    return float(fill.sum() / truth.sum())
