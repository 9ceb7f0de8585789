"""What several systems make of the same held-out clips, and what they make up, to look at side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffmae_video.data import denormalise, normalise
from diffmae_video.encoding.clips import to_frames
from diffmae_video.inpainting.examples import clip_size, read_sources
from diffmae_video.inpainting.metrics import psnr
from diffmae_video.inpainting.simple_fills import grey_fill
from diffmae_video.masks import Mask
from diffmae_video.models import load_model
from diffmae_video.tokens import Triple

MASKS = ("center", "lower")
SAMPLES = 16  # that a system makes up


class SideBySide(NamedTuple):
    """A held-out clip, and how systems filled what was hidden of it.

    Attributes:
        truth: uint8 [T, H, W, 3], at the size of the system that reads most pixels.
        given: the same with what is hidden in grey.
        fills: by system uint8 [T, H, W, 3], at the size that it reads.
        psnr: by system, of hidden pixels at that size, in dB.
    """

    truth: np.ndarray
    given: np.ndarray
    fills: dict[str, np.ndarray]
    psnr: dict[str, float]


def mask_of(name: str, batch: int, grid: Triple) -> Mask:
    """A mask of clips: ``center``, or ``lower`` for the lower half (iGPT's completion).

    Args:
        name: one of ``MASKS``.
        batch: clips, which all get the same.
        grid: patches (t, h, w).
    """
    if name == "center":
        return Mask.center(batch, grid)
    hidden = torch.zeros((batch, *grid), dtype=torch.bool)
    hidden[:, :, grid[1] // 2 :] = True
    return Mask.from_bool(hidden)


def fill_held_out(
    folders: Mapping[str, Path], paths: Sequence[str | Path], seed: int = 0
) -> dict[str, list[SideBySide]]:
    """By each of MASKS what the systems made of each file, each by its own way to inpaint.

    Args:
        folders: of the pre-trained models, by system.
        paths: of videos or pictures.

    Raises:
        VideoError: a file cannot be read.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    models = {system: load_model(folder).to(device) for system, folder in folders.items()}
    shown: dict[str, list[SideBySide]] = {name: [] for name in MASKS}
    for system in sorted(models, key=lambda name: -math.prod(clip_size(models[name]))):
        model = models[system]
        clips = torch.stack([source.clip for source in read_sources(paths, folders[system], model)])
        clips = clips.to(device)
        truth = clips.movedim(-1, 1).float() / 255  # [B, 3, T, H, W]
        for name, rows in shown.items():
            mask = mask_of(name, len(clips), model.grid).to(device)
            masked = mask.to_pixels(model.patch)
            filled = model.inpaint(normalise(clips, model.mean, model.std), mask, seed=seed).clip
            pixels = denormalise(filled, model.mean, model.std).clamp(0, 1)
            if not rows:
                given = to_frames(grey_fill(truth, masked))
                rows += [SideBySide(*pair, {}, {}) for pair in zip(clips.cpu().numpy(), given, strict=True)]
            for row, frames, figure in zip(rows, to_frames(pixels), psnr(pixels, truth, masked), strict=True):
                row.fills[system] = frames
                row.psnr[system] = float(figure)
    return shown


def generate(folders: Mapping[str, Path], seed: int = 0) -> dict[str, np.ndarray]:
    """By system, of those that can, ``SAMPLES`` clips out of noise: uint8 [SAMPLES, T, H, W, 3]."""
    made = {}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for system, folder in folders.items():
        model: Any = load_model(folder).to(device)
        if hasattr(model, "sample"):
            clips: Tensor = model.sample(SAMPLES, seed=seed).clip
            made[system] = to_frames(denormalise(clips, model.mean, model.std).clamp(0, 1))
    return made
