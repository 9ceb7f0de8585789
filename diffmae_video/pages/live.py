"""Inpainting of one window of an upload, watched while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from diffmae_video.config import load_recipe
from diffmae_video.data import ClipSampler, denormalise, normalise
from diffmae_video.data.clip_sampler import read_clips
from diffmae_video.data.transforms import center_crop
from diffmae_video.decoding import DecodingProcess
from diffmae_video.errors import InputError
from diffmae_video.inpainting.metrics import psnr
from diffmae_video.masks import MASKS, Mask
from diffmae_video.models import DiffMAE, MaskedAutoencoder, load_model
from diffmae_video.tokens import Triple

PAINTED = "painted"
KINDS = (*MASKS, PAINTED)
# Bounds of what a stranger may upload, all our choice.
MAX_SECONDS = 600  # of video
DECODED_SIDE = 4  # short sides of the model's size: larger frames are made smaller as they are decoded


class Window(NamedTuple):
    """The frames that the model takes of a video or picture.

    Attributes:
        frames: uint8 [T, H, W, 3], the central crop at the model's size.
        fps: of these frames, in frames per second.
        start, latest: where in the video it starts, and where one could start at most, in seconds.
        is_picture: of one frame, which all T are.
    """

    frames: Tensor
    fps: float
    start: float
    latest: float
    is_picture: bool


class Refinement(NamedTuple):
    """What is predicted at a step.

    Attributes:
        step: from 1.
        t: the timestep; 0 of a model that has none.
        psnr: in the hole, in dB.
        clip: [3, T, H, W] in [0, 1]; visible pixels are the window's own.
    """

    step: int
    t: int
    psnr: float
    clip: Tensor


class LiveInpainting:
    """A run's model, with the way that the run samples clips.

    Args:
        folder: of a pre-training run: config.json, model.safetensors and config.yaml.

    Raises:
        InputError: the folder has no model that inpaints, or no config.yaml.
    """

    def __init__(self, folder: Path) -> None:
        model = load_model(folder)
        if not isinstance(model, MaskedAutoencoder):
            raise InputError(
                f"{folder}: holds a {type(model).__name__}, which does not inpaint; give the folder of a "
                "pre-training run"
            )
        if model.normalize_target:
            raise InputError(f"{folder}: predicts patches normalised one by one, which cannot be rendered")
        cfg = load_recipe(folder, [])
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device)
        self.timesteps = model.schedule.timesteps if isinstance(model, DiffMAE) else 1
        self.grid: Triple = model.encoder.grid
        frames, height, width = (n * side for n, side in zip(self.grid, model.patch, strict=True))
        self.sampling = ClipSampler(frames, cfg.DATA.STRIDE, cfg.DATA.FPS)
        self.size = (height, width)
        self.backend, self.timeout = cfg.DATA.BACKEND, cfg.DATA.TIMEOUT
        self.short_side = cfg.DATA.SHORT_SIDE or DECODED_SIDE * max(self.size)

    def read(self, path: str | Path, start: float = 0.0) -> Window:
        """The window of a file that starts at a second, or at the last one that leaves room for it.

        Only these frames are decoded, in a process that is ended if it takes too long.

        Raises:
            VideoError: it cannot be read.
            InputError: it is longer than ``MAX_SECONDS``.
        """
        with (
            DecodingProcess(self.timeout) as decoder,
            decoder.open(path, self.backend, self.short_side) as video,
        ):
            times = video.times
            if times[-1] > MAX_SECONDS:
                raise InputError(
                    f"{path}: is {times[-1]:.0f} s long, and at most {MAX_SECONDS} s are taken; cut it first"
                )
            latest = self.sampling.num_starts(video, 0, video.num_frames) - 1
            first = min(int(np.searchsorted(times, start - 1e-6)), latest)
            (frames,) = read_clips(video, [self.sampling.indices(video, first, video.num_frames)])
            fps = (self.sampling.fps or video.fps) / self.sampling.stride
            clip, is_picture = center_crop(frames, self.size), video.num_frames == 1
        return Window(clip, fps, float(times[first]), float(times[latest]), is_picture)

    def draw_mask(self, kind: str, ratio: float, seed: int, painted: np.ndarray | None = None) -> Mask:
        """A mask of the model's clips, of batch 1.

        Args:
            kind: of ``KINDS``.
            ratio: of the drawn kinds but ``center``.
            seed: of the drawn kinds.
            painted: bool [h, w] of any size, for all frames alike; a patch that it touches is masked.

        Raises:
            InputError: nothing was painted, or nothing would be visible or masked.
        """
        if kind == PAINTED:
            if painted is None or not painted.any():
                raise InputError(
                    "nothing is painted; paint over what is to be filled, or choose another mask"
                )
            touched = F.adaptive_max_pool2d(torch.from_numpy(painted)[None].float(), self.size)[0]
            return Mask.from_pixels(touched, self.grid, self.model.patch).to(self.device)
        generator = torch.Generator().manual_seed(seed)
        return Mask.draw(kind, 1, self.grid, ratio, generator).to(self.device)

    def refine(
        self, window: Window, mask: Mask, sampler: str = "ddim", steps: int = 50, seed: int = 0
    ) -> Iterator[Refinement]:
        """Fills the mask and gives the prediction of every step; the last one is the result.

        Raises:
            InputError: an unknown sampler, or steps that the model does not have.
        """
        pixels = window.frames[None].to(self.device)
        truth, hidden = pixels.movedim(-1, 1).float() / 255, mask.to_pixels(self.model.patch)
        clip = normalise(pixels, self.model.mean, self.model.std)
        run = self.model.inpaint_steps(clip, mask, sampler, steps, seed)
        for step, (t, fill) in enumerate(run, 1):
            filled = denormalise(self.model.paste(clip, mask, fill), self.model.mean, self.model.std)
            filled = torch.where(hidden, filled.clamp(0, 1), truth)
            yield Refinement(step, t, float(psnr(filled, truth, hidden)), filled[0].cpu())

    def hide(self, window: Window, mask: Mask) -> Tensor:
        """The window with grey in its masked places: [3, T, H, W] in [0, 1]."""
        truth = window.frames.movedim(-1, 0).float() / 255
        return truth.masked_fill(mask.to_pixels(self.model.patch)[0].cpu(), 0.5)


def most_hidden(mask: Mask, patch: Triple) -> int:
    """The frame with the most masked patches, of several the one nearest the middle."""
    counts = mask.to_bool()[0].flatten(1).sum(1).tolist()
    middle = (len(counts) - 1) / 2
    step = max(range(len(counts)), key=lambda i: (counts[i], -abs(i - middle)))
    return step * patch[0]
