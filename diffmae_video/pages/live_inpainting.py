"""Inpaints one window of an upload, step by step."""

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
from diffmae_video.mask_kinds import MASKS
from diffmae_video.masks import Mask
from diffmae_video.models import load_inpainter
from diffmae_video.runtime.device import for_sampling
from diffmae_video.tokens import Triple

PAINTED = "painted"
KINDS = (*MASKS, PAINTED)
# Limits for uploads, which may come from strangers. Our choice.
MAX_SECONDS = 600
MAX_SIDES = 4  # frames are decoded with a short side of at most this many of the model's sides


class Window(NamedTuple):
    """The frames of a video or picture that the model takes."""

    frames: Tensor  # uint8 [T, H, W, 3], the central crop at the model's size
    fps: float  # frames per second of these frames
    # start, latest: in seconds, where the window starts and where one could start at the latest
    start: float
    latest: float
    is_picture: bool  # the upload has one frame, which all T repeat


class Refinement(NamedTuple):
    """The prediction at a step."""

    step: int  # counted from 1
    t: int  # the timestep; 0 for a model without timesteps
    psnr: float  # in the hole, in dB
    clip: Tensor  # [3, T, H, W] in [0, 1]; visible pixels are the window's own


class LiveInpainting:
    """A run's model, together with how the run samples clips.

    Args:
        folder: a pre-training run's folder: config.json, model.safetensors and config.yaml.
        precision: of the weights, see :func:`~diffmae_video.runtime.device.sampling_dtype`.

    Raises:
        InputError: the folder holds no model that inpaints, or no config.yaml.
    """

    def __init__(self, folder: Path, precision: str) -> None:
        model = for_sampling(load_inpainter(folder), precision)
        cfg = load_recipe(folder, [])
        self.device = next(model.parameters()).device
        self.model = model
        self.timesteps = model.timesteps or 1
        self.grid: Triple = model.grid
        frames, height, width = model.clip_size
        self.sampler = ClipSampler(frames, cfg.DATA.STRIDE, cfg.DATA.FPS)
        self.size = (height, width)
        self.backend, self.timeout = cfg.DATA.BACKEND, cfg.DATA.TIMEOUT
        self.short_side = cfg.DATA.SHORT_SIDE or MAX_SIDES * max(self.size)

    def read(self, path: str | Path, start: float = 0.0) -> Window:
        """The window of a file that starts at a second, or at the latest possible start.

        Decodes only these frames, in another process, which is ended if it takes too long.

        Raises:
            VideoError: the file cannot be read.
            InputError: it is longer than ``MAX_SECONDS``.
        """
        with (
            DecodingProcess(self.timeout) as decoder,
            decoder.open(path, self.backend, self.short_side) as video,
        ):
            times = video.times
            if times[-1] > MAX_SECONDS:
                raise InputError(
                    f"{path}: is {times[-1]:.0f} s long, and the limit is {MAX_SECONDS} s; cut it first"
                )
            latest = self.sampler.num_starts(video, 0, video.num_frames) - 1
            first = min(int(np.searchsorted(times, start - 1e-6)), latest)
            (frames,) = read_clips(video, [self.sampler.indices(video, first, video.num_frames)])
            fps = (self.sampler.fps or video.fps) / self.sampler.stride
            clip, is_picture = center_crop(frames, self.size), video.num_frames == 1
        return Window(clip, fps, float(times[first]), float(times[latest]), is_picture)

    def draw_mask(self, kind: str, ratio: float, seed: int, painted: np.ndarray | None = None) -> Mask:
        """A mask of the model's clips, of batch 1.

        Args:
            kind: one of ``KINDS``.
            ratio: the masked share; not used by ``center`` and ``painted``.
            seed: of a random mask.
            painted: bool [h, w] of any size, the same for all frames; masks every patch that it touches.

        Raises:
            InputError: nothing was painted, or no patch would be visible or masked.
        """
        if kind == PAINTED:
            if painted is None or not painted.any():
                raise InputError("nothing is painted; paint over the part to fill, or choose another mask")
            touched = F.adaptive_max_pool2d(torch.from_numpy(painted)[None].float(), self.size)[0]
            return Mask.from_pixels(touched, self.grid, self.model.patch).to(self.device)
        generator = torch.Generator().manual_seed(seed)
        return Mask.draw(kind, 1, self.grid, ratio, generator).to(self.device)

    def refine(
        self, window: Window, mask: Mask, sampler: str = "ddim", steps: int = 50, seed: int = 0
    ) -> Iterator[Refinement]:
        """Fills the mask and yields the prediction of every step; the last one is the result.

        Raises:
            InputError: an unknown sampler, or more steps than the model has.
        """
        pixels = window.frames[None].to(self.device)
        truth, masked = pixels.movedim(-1, 1).float() / 255, mask.to_pixels(self.model.patch)
        clip = normalise(pixels, self.model.mean, self.model.std)
        run = self.model.inpaint_steps(clip, mask, sampler, steps, seed)
        for step, (t, fill) in enumerate(run, 1):
            filled = denormalise(self.model.paste(clip, mask, fill), self.model.mean, self.model.std)
            filled = torch.where(masked, filled.clamp(0, 1), truth)
            yield Refinement(step, t, float(psnr(filled, truth, masked)), filled[0].cpu())

    def grey_out(self, window: Window, mask: Mask) -> Tensor:
        """The window with masked pixels grey: [3, T, H, W] in [0, 1]."""
        truth = window.frames.movedim(-1, 0).float() / 255
        return truth.masked_fill(mask.to_pixels(self.model.patch)[0].cpu(), 0.5)


def fullest_frame(mask: Mask, patch: Triple) -> int:
    """The first frame of the time step with most masked patches, or of the most central of equal ones."""
    counts = mask.to_bool()[0].flatten(1).sum(1).tolist()
    middle = (len(counts) - 1) / 2
    step = max(range(len(counts)), key=lambda i: (counts[i], -abs(i - middle)))
    return step * patch[0]
