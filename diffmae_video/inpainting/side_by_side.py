"""How several pre-trained systems fill the same held-out clips, and what they generate, side by side."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from diffmae_video.data import denormalise, normalise
from diffmae_video.encoding.clips import to_frames
from diffmae_video.inpainting.examples import read_sources
from diffmae_video.inpainting.metrics import psnr
from diffmae_video.inpainting.simple_fills import grey_fill
from diffmae_video.masks import Mask
from diffmae_video.models import load_model
from diffmae_video.runtime.device import default_device
from diffmae_video.tokens import Triple

MASKS = ("center", "lower")
SAMPLES = 16  # that each system generates


class SideBySide(NamedTuple):
    """A held-out clip and each system's fill of it."""

    truth: np.ndarray  # uint8 [T, H, W, 3], at the size of the system with the largest clips
    given: np.ndarray  # the same with masked pixels in grey
    fills: dict[str, np.ndarray]  # by system, uint8 [T, H, W, 3] at the system's own size
    psnr: dict[str, float]  # by system, over masked pixels at that size, in dB


def draw_mask(name: str, batch: int, grid: Triple) -> Mask:
    """The centre or the lower half (iGPT's task) of a batch of clips.

    Args:
        name: one of ``MASKS``.
        batch: number of clips, which all get the same mask.
        grid: patches (t, h, w) of a clip.
    """
    if name == "center":
        return Mask.center(batch, grid)
    hidden = torch.zeros((batch, *grid), dtype=torch.bool)
    hidden[:, :, grid[1] // 2 :] = True
    return Mask.from_bool(hidden)


def fill_held_out(
    folders: Mapping[str, Path], paths: Sequence[str | Path], seed: int = 0
) -> dict[str, list[SideBySide]]:
    """For each mask of MASKS, each file as all systems fill it, each by its own method.

    Args:
        folders: of the pre-trained models, by system.
        paths: videos or pictures.
        seed: seeds sampling.

    Raises:
        VideoError: a file cannot be read.
    """
    device = default_device()
    models = {system: load_model(folder).to(device) for system, folder in folders.items()}
    comparisons: dict[str, list[SideBySide]] = {name: [] for name in MASKS}
    for system in sorted(models, key=lambda name: -math.prod(models[name].clip_size)):
        model = models[system]
        clips = torch.stack([source.clip for source in read_sources(paths, folders[system], model)])
        clips = clips.to(device)
        truth = clips.movedim(-1, 1).float() / 255  # [B, 3, T, H, W]
        for name, rows in comparisons.items():
            mask = draw_mask(name, len(clips), model.grid).to(device)
            masked = mask.to_pixels(model.patch)
            filled = model.inpaint(normalise(clips, model.mean, model.std), mask, seed=seed).clip
            pixels = denormalise(filled, model.mean, model.std).clamp(0, 1)
            if not rows:
                given = to_frames(grey_fill(truth, masked))
                rows += [SideBySide(*pair, {}, {}) for pair in zip(clips.cpu().numpy(), given, strict=True)]
            scores = psnr(pixels, truth, masked).tolist()
            for row, frames, score in zip(rows, to_frames(pixels), scores, strict=True):
                row.fills[system] = frames
                row.psnr[system] = score
    return comparisons


def generate(folders: Mapping[str, Path], seed: int = 0) -> dict[str, np.ndarray]:
    """``SAMPLES`` clips out of noise by each system that can: uint8 [SAMPLES, T, H, W, 3]."""
    generated = {}
    for system, folder in folders.items():
        model = load_model(folder).to(default_device())
        if model.generates:
            clips = model.sample(SAMPLES, seed=seed).clip
            generated[system] = to_frames(denormalise(clips, model.mean, model.std))
    return generated
