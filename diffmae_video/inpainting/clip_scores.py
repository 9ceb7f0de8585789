"""All scores of one fill method for one task, gathered batch by batch."""

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
    """Gathers the scores of one fill method for one task, batch by batch.

    Args:
        patch: (frames, height, width) of the patches.
        lpips: the LPIPS network; None leaves LPIPS out.
        feature_model: whose features of the fills are kept for a Fréchet distance; None keeps none.

    Attributes:
        features: [B, D] of each batch.
    """

    def __init__(self, patch: Triple, lpips: nn.Module | None, feature_model: FeatureModel | None) -> None:
        self.patch, self.lpips, self.feature_model = patch, lpips, feature_model
        self.by_clip: dict[str, list[Tensor]] = defaultdict(list)  # a value for each clip, [B] each
        # Sums over all clips, of the fill and of the truth: [2]. The same for spectra of pictures: [2, F].
        self.sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))
        self.spectra: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))
        self.pictures: dict[str, int] = defaultdict(int)
        self.features: list[Tensor] = []

    def add(self, fill: Tensor, truth: Tensor, mask: Mask) -> None:
        """Takes a batch, [B, 3, T, H, W] in [0, 1], whose fill equals the truth at all visible pixels."""
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
        if self.feature_model is not None:
            self.features.append(self.feature_model(fill))

    def result(self) -> dict[str, float | None]:
        """The scores by name, each over ``_masked`` pixels and the ``_whole`` clip; None if undefined.

        ``psnr`` (dB), ``ssim``, ``lpips``; ``gradient`` energy and, for clips of several frames, ``flicker``,
        divided by the truth's; ``spectrum``, the distance of spectra in dB, of masked patches or whole
        frames.
        """
        scores = {name: float(torch.cat(parts).mean()) for name, parts in self.by_clip.items()}
        scores |= {name: float(both[0] / both[1]) for name, both in self.sums.items()}
        for name, both in self.spectra.items():
            fill, truth = both / self.pictures[name]
            scores[name] = spectrum_distance(fill, truth)
        return {name: value if math.isfinite(value) else None for name, value in scores.items()}
