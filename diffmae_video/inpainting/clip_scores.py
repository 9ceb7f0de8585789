"""All figures of one way to fill, gathered over batches."""

from __future__ import annotations

import math
from collections import defaultdict

import torch
from torch import Tensor, nn

from diffmae_video.inpainting.frechet import FeatureModel
from diffmae_video.inpainting.lpips import lpips_map
from diffmae_video.inpainting.metrics import (
    flicker,
    gradient_energy,
    masked_patches,
    psnr,
    radial_spectrum,
    region_mean,
    spectrum_distance,
    ssim_map,
)
from diffmae_video.masks import Mask
from diffmae_video.tokens import Triple


class ClipScores:
    """Gathers the figures of one way to fill for one task, batch by batch.

    Args:
        patch: (frames, height, width).
        lpips, network: to measure LPIPS, and to keep features; None: not.
    """

    def __init__(self, patch: Triple, lpips: nn.Module | None, network: FeatureModel | None) -> None:
        self.patch, self.lpips, self.network = patch, lpips, network
        self.by_clip: dict[str, list[Tensor]] = defaultdict(list)  # [B] each
        self.sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))  # of fill and truth: [2]
        self.spectra: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))  # sums of both: [2, F]
        self.pictures: dict[str, int] = defaultdict(int)  # in these sums
        self.features: list[Tensor] = []  # [B, D] each

    def add(self, fill: Tensor, truth: Tensor, mask: Mask) -> None:
        """Takes in a fill that is the truth at all visible places; both [B, 3, T, H, W] in [0, 1]."""
        masked, pair = mask.to_pixels(self.patch), (fill, truth)
        maps = {"ssim": ssim_map(fill, truth)}
        if self.lpips is not None:
            maps["lpips"] = lpips_map(self.lpips, fill, truth)
        for name, region in {"masked": masked, "whole": torch.ones_like(masked)}.items():
            self.by_clip[f"psnr_{name}"].append(psnr(fill, truth, region).cpu())
            for metric, values in maps.items():
                self.by_clip[f"{metric}_{name}"].append(region_mean(values, region).cpu())
            energy = torch.stack([gradient_energy(clip, region).sum() for clip in pair]).cpu()
            self.sums[f"gradient_{name}"] = self.sums[f"gradient_{name}"] + energy
            if fill.shape[2] > 1:
                change = torch.stack([flicker(clip, region).sum() for clip in pair]).cpu()
                self.sums[f"flicker_{name}"] = self.sums[f"flicker_{name}"] + change
        pictures = {
            "spectrum_masked": [masked_patches(clip, mask, self.patch) for clip in pair],
            "spectrum_whole": [clip.transpose(1, 2).flatten(0, 2) for clip in pair],
        }
        for name, both in pictures.items():
            power = torch.stack([radial_spectrum(x).sum(0) for x in both]).cpu()
            self.spectra[name] = self.spectra[name] + power
            self.pictures[name] += len(both[0])
        if self.network is not None:
            self.features.append(self.network(fill))

    def result(self) -> dict[str, float | None]:
        """The figures by name, each ``_masked`` and ``_whole``; None where it has no value.

        ``psnr`` (dB), ``ssim`` and ``lpips``; ``flicker`` (not of images) and ``gradient`` energy over
        the truth's; ``spectrum``, the distance in dB, on the masked patches or the whole frames.
        """
        found = {name: float(torch.cat(parts).mean()) for name, parts in self.by_clip.items()}
        found |= {name: float(both[0] / both[1]) for name, both in self.sums.items()}
        for name, both in self.spectra.items():
            fill, truth = both / self.pictures[name]
            found[name] = spectrum_distance(fill, truth)
        return {name: value if math.isfinite(value) else None for name, value in found.items()}
