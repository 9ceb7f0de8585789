"""A whole film filled in, stretch by stretch, so that memory does not grow with its length.

Every frame of the film is a frame of the model's clips, whatever the rates of the two (our choice: what is
left out would have to be made up). Clips start at most half a clip after each other; a few of them make a
stretch, which is sampled jointly. What its last clips share with the next stretch is left to that one, with
their predictions for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffmae_video.decoding import VideoReader
from diffmae_video.errors import InputError
from diffmae_video.inpainting.film.holes import Hole
from diffmae_video.inpainting.film.joint import Carried, JointFill
from diffmae_video.inpainting.film.stretches import Stretch, cut_into_stretches
from diffmae_video.inpainting.film.windows import Window, make_batches, starts, time_step
from diffmae_video.models import MaskedAutoencoder
from diffmae_video.randomness import random_state

STRETCH = 8  # clips after each other, at most
CLIPS = 64  # of a stretch that is tiled, if there are no more in one place in time
BATCH = 8  # clips that go through the model together
STRETCH_BYTES = 2**29  # of frames and what is computed of them, about, unless one clip takes more


class SamplerOptions(NamedTuple):
    """How to fill: see :func:`diffmae_video.diffusion.sample`.

    Attributes:
        seed: of all noise; x_T depends on it, the sample's number and the frame's number alone.
        samples: films to make of the one.
        keeps_steps: keep the first sample's x0 prediction of every step.
    """

    sampler: str = "ddim"
    steps: int = 50
    seed: int = 0
    samples: int = 1
    keeps_steps: bool = False


class FilledFrame(NamedTuple):
    """A frame and what was put into its hole.

    Attributes:
        number: of the frame in the film, from 0.
        truth: of the input, uint8 [H, W, 3].
        hole: bool [H, W].
        samples: uint8 [H, W, 3] each; outside of the hole they are the truth.
        steps: the first sample's x0 predictions, to be taken one after another, like ``samples``.
    """

    number: int
    truth: np.ndarray
    hole: np.ndarray
    samples: list[np.ndarray]
    steps: Iterator[np.ndarray]


class ReadFrame(NamedTuple):
    """A frame that was read: it, its hole, and both on the canvas ([3, h, w]; bool [rows, columns])."""

    frame: np.ndarray
    hole: np.ndarray
    small: Tensor
    hidden: Tensor


class FilmFiller:
    """Fills the hole of a film.

    Args:
        model: a DiffMAE or an MAE, in evaluation mode.
        video: the film, or a picture.
        hole: what is hidden of it.
        sampling: how to fill.

    Attributes:
        stretches: as they are sampled.
        timesteps: of the steps that are kept, T first; 0 for an MAE's one.
    """

    def __init__(
        self, model: MaskedAutoencoder, video: VideoReader, hole: Hole, sampling: SamplerOptions
    ) -> None:
        self.model, self.video, self.hole, self.sampling = model, video, hole, sampling
        self.canvas = hole.canvas
        self.grid, self.patch = model.encoder.grid, model.patch
        self.clip = self.grid[0] * self.patch[0]
        self.device = next(model.parameters()).device
        self.tiles = [
            (row, column)
            for row in starts(self.canvas.grid[0], self.grid[1], max(1, self.grid[1] // 2))
            for column in starts(self.canvas.grid[1], self.grid[2], max(1, self.grid[2] // 2))
        ]
        step = time_step(self.clip, self.patch[0], hole.is_aligned)
        (height, width), (high, wide) = self.canvas.film, self.canvas.size
        frame_bytes = 4 * height * width + 100 * high * wide  # uint8 and bool; about eight floats [3, h, w]
        fit = min(STRETCH_BYTES // (frame_bytes * step), CLIPS // len(self.tiles), STRETCH)
        self.stretches = cut_into_stretches(
            video.num_frames, self.clip, self.patch[0], hole.is_aligned, max(1, fit)
        )
        schedule = getattr(model, "schedule", None)
        self.timesteps: list[int] = schedule.sampling_timesteps(sampling.steps) if schedule else [0]
        mean, std = (torch.tensor(x).view(3, 1, 1, 1) for x in (model.mean, model.std))
        self.mean, self.std = mean.to(self.device), std.to(self.device)

    def joints(self) -> tuple[set[int], set[int]]:
        """Frames that a clip starts or ends at, and those of them that a stretch does."""
        clips = {f for s in self.stretches for start in s.clips for f in (start, start + self.clip)}
        return clips, {s.cut for s in self.stretches}

    def __iter__(self) -> Iterator[FilledFrame]:
        """All frames of the film, in order.

        Raises:
            VideoError: one cannot be decoded.
            InputError: a stretch of the film has no visible patch that it could be filled by.
        """
        held: list[ReadFrame] = []
        first = 0  # of the frames that are held
        before: list[Carried | None] = [None] * self.sampling.samples
        for stretch in self.stretches:
            held, first = held[stretch.start - first :], stretch.start
            held += self._read(first + len(held), min(stretch.end, self.video.num_frames))
            fills, steps, before = self._fill(stretch, held, before)
            for i, frame in enumerate(held[: stretch.cut - first]):
                yield FilledFrame(
                    first + i,
                    frame.frame,
                    frame.hole,
                    [self._composite(frame, fill[:, i]) for fill in fills],
                    (self._composite(frame, step[:, i].float() / 255) for step in steps),
                )

    def _read(self, start: int, stop: int) -> list[ReadFrame]:
        if start >= stop:
            return []
        frames, holes = self.video.frames(range(start, stop)), self.hole.pixels(start, stop)
        patches = self.hole.patches(holes, start)
        return [
            ReadFrame(frame, hole, self.canvas.shrink(frame, hole), hidden)
            for frame, hole, hidden in zip(frames, holes, patches, strict=True)
        ]

    def _fill(
        self, stretch: Stretch, held: Sequence[ReadFrame], before: Sequence[Carried | None]
    ) -> tuple[list[Tensor], list[Tensor], list[Carried | None]]:
        """Each sample's stretch [3, n, h, w] in [0, 1], the steps of the first one, as uint8, and what each
        hands on.
        """
        held = [*held, *[held[-1]] * (stretch.end - stretch.start - len(held))]
        truth = torch.stack([frame.small for frame in held], dim=1)  # [3, n, h, w]
        hidden = torch.stack([frame.hidden for frame in held])
        samples, levels = self.sampling.samples, (truth * 255).round().byte()
        if not hidden.any():
            return [truth] * samples, [levels] * len(self.timesteps), [None] * samples
        places = [Window(f - stretch.start, row, column) for f in stretch.clips for row, column in self.tiles]
        batches = make_batches(hidden, places, self.grid, self.patch[0], BATCH)
        p, q = self.canvas.patch
        area = hidden.repeat_interleave(p, 1).repeat_interleave(q, 2)
        canvas = (truth.to(self.device) - self.mean) / self.std
        fills: list[Tensor] = []
        steps: list[Tensor] = []
        after: list[Carried | None] = []

        def to_pixels(x: Tensor) -> Tensor:
            return torch.where(area, (x * self.std + self.mean).clamp(0, 1).cpu(), truth)

        for number in range(samples):
            joint = JointFill(self.model, canvas, batches, before[number], stretch.cut - stretch.start)
            self._check(stretch, area & (joint.weight.cpu() == 0))
            keeps = self.sampling.keeps_steps and number == 0
            x0 = joint.sample(
                self._noise(stretch, number),
                self.sampling.sampler,
                self.sampling.steps,
                self._fresh(stretch, number),
                (lambda x0: steps.append((to_pixels(x0) * 255).round().byte())) if keeps else None,
            )
            fills.append(to_pixels(x0))
            after.append(joint.carried)
        return fills, steps, after

    def _noise(self, stretch: Stretch, number: int) -> Tensor:
        """x_T of a stretch of a sample, [3, n, h, w]; every frame's is its own."""
        frames = range(stretch.start, stretch.end)
        generators = [random_state(self.sampling.seed, number + 1, frame, 1) for frame in frames]
        noise = [torch.randn(3, *self.canvas.size, generator=generator) for generator in generators]
        return torch.stack(noise, dim=1).to(self.device)

    def _fresh(self, stretch: Stretch, number: int) -> torch.Generator:
        """For what a sampler draws on its way."""
        seed = random_state(self.sampling.seed, number + 1, stretch.start, 2).initial_seed()
        return torch.Generator(self.device).manual_seed(seed)

    def _check(self, stretch: Stretch, unseen: Tensor) -> None:
        frames = unseen[: stretch.cut - stretch.start].flatten(1).any(1).nonzero().flatten().tolist()
        if not frames:
            return
        first, last = (min(stretch.start + f, self.video.num_frames - 1) for f in (frames[0], frames[-1]))
        what = "a tile of the frame" if self.canvas.tiles else "the whole frame"
        raise InputError(
            f"the mask hides {what} for all {self.clip} frames of the model's clips around frames {first} to "
            f"{last}, and leaves nothing to go by; hide less" + (" or leave out --tiles" * self.canvas.tiles)
        )

    def _composite(self, held: ReadFrame, fill: Tensor) -> np.ndarray:
        """The frame with a picture of the canvas [3, h, w] in its hole."""
        if not held.hole.any():
            return held.frame
        return np.where(held.hole[..., None], self.canvas.enlarge(fill), held.frame)
