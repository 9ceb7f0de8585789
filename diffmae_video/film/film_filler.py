"""Fills a whole film, stretch by stretch, so that memory does not grow with its length.

Every frame of the film is a frame of the model's clips, whatever frame rate the model was trained on (our
choice: skipped frames would have to be made up). Each clip starts at most half a clip after the one before.
A few consecutive clips make a stretch and are sampled jointly. The frames that a stretch shares with the next
one are filled with the next one, which takes the predictions made so far into account.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffmae_video.decoding import VideoReader
from diffmae_video.errors import InputError
from diffmae_video.film.blended_windows import BlendedWindows, SharedPredictions
from diffmae_video.film.hole_edges import paste
from diffmae_video.film.holes import Hole
from diffmae_video.film.stretches import Stretch, cut_into_stretches
from diffmae_video.film.windows import Window, make_batches, starts, time_step
from diffmae_video.models import PretrainingModel
from diffmae_video.randomness import random_state
from diffmae_video.runtime.progress import ProgressBar

MAX_STEPS_IN_TIME = 8  # clips of a stretch that follow each other in time
MAX_WINDOWS = 64  # windows of a stretch, unless more are needed to tile a single frame
BATCH = {"cpu": 8, "cuda": 32}  # windows that go through the model together
STRETCH_BYTES = 2**29  # rough memory budget of a stretch; a single clip may exceed it


class SamplerOptions(NamedTuple):
    """How to fill; see :func:`diffmae_video.diffusion.sample`."""

    # sampler, steps: the sampler and its number of steps
    sampler: str
    steps: int
    seed: int  # seeds all noise. x_T depends only on the seed, the sample's number and the frame's number.
    samples: int  # how many fills of the film to make
    keeps_steps: bool  # whether to keep the first sample's x0 prediction of every step
    precision: str  # of the model's weights, see sampling_dtype


class FilledFrame(NamedTuple):
    """A frame of the film with its fills."""

    number: int  # the frame's number in the film, from 0
    truth: np.ndarray  # the input frame, uint8 [H, W, 3]
    hole: np.ndarray  # what was hidden, bool [H, W]
    # the filled frame of each sample, uint8 [H, W, 3]; equal to truth outside the hole
    samples: list[np.ndarray]
    steps: Iterator[np.ndarray]  # the first sample's x0 predictions in the same form, computed one at a time


class MaskedFrame(NamedTuple):
    """A frame that is waiting to be filled."""

    # frame, hole: as read, uint8 [H, W, 3] and bool [H, W]
    frame: np.ndarray
    hole: np.ndarray
    # canvas, hidden: the same on the canvas, [3, h, w] and, in patches, bool [rows, columns]
    canvas: Tensor
    hidden: Tensor


class FilmFiller:
    """Fills the hole of a film.

    Args:
        model: a DiffMAE or an MAE in evaluation mode.
        video: the film, or a picture.
        hole: what is hidden.
        options: how to fill.

    Attributes:
        stretches: the film's stretches, in the order in which they are sampled.
        timesteps: the timesteps of the steps, T first; [0] for an MAE, which has one step.
    """

    def __init__(
        self, model: PretrainingModel, video: VideoReader, hole: Hole, options: SamplerOptions
    ) -> None:
        self.model, self.video, self.hole, self.options = model, video, hole, options
        self.canvas = hole.canvas
        self.grid, self.patch = model.grid, model.patch
        self.clip = self.grid[0] * self.patch[0]
        self.device = next(model.parameters()).device
        self.tiles = [
            (row, column)
            for row in starts(self.canvas.grid[0], self.grid[1], max(1, self.grid[1] // 2))
            for column in starts(self.canvas.grid[1], self.grid[2], max(1, self.grid[2] // 2))
        ]
        self.stretches = cut_into_stretches(
            video.num_frames, self.clip, self.patch[0], hole.is_aligned, self._clips_in_memory()
        )
        self.timesteps: list[int] = model.sampling_timesteps(options.steps)
        mean, std = (torch.tensor(x).view(3, 1, 1, 1) for x in (model.mean, model.std))
        self.mean, self.std = mean.to(self.device), std.to(self.device)

    def _clips_in_memory(self) -> int:
        """How many consecutive clips a stretch may have."""
        step = time_step(self.clip, self.patch[0], self.hole.is_aligned)
        (height, width), (high, wide) = self.canvas.frame_size, self.canvas.size
        # A frame and its hole as bytes, and about eight float pictures of the canvas.
        frame_bytes = 4 * height * width + 100 * high * wide
        in_memory = STRETCH_BYTES // (frame_bytes * step)
        return max(1, min(in_memory, MAX_WINDOWS // len(self.tiles), MAX_STEPS_IN_TIME))

    def joints(self) -> tuple[set[int], set[int]]:
        """Frames at which a clip starts or ends, and those of them at which a stretch starts or ends."""
        clips = {f for s in self.stretches for start in s.clips for f in (start, start + self.clip)}
        return clips, {s.cut for s in self.stretches}

    def __iter__(self) -> Iterator[FilledFrame]:
        """All frames of the film, in order.

        Raises:
            VideoError: a frame cannot be decoded.
            InputError: part of the film has no visible patch to fill it from.
        """
        frames: list[MaskedFrame] = []
        first = 0  # number of frames[0] in the film
        before: list[SharedPredictions | None] = [None] * self.options.samples
        total = len(self.stretches) * self.options.samples * len(self.timesteps)
        with ProgressBar(total=total, desc="inpainting", unit=" steps", leave=False) as bar:
            for stretch in self.stretches:
                frames, first = frames[stretch.start - first :], stretch.start
                frames += self._read(first + len(frames), min(stretch.end, self.video.num_frames))
                fills, steps, before = self._fill(stretch, frames, before, bar)
                for i, frame in enumerate(frames[: stretch.cut - first]):
                    yield FilledFrame(
                        first + i,
                        frame.frame,
                        frame.hole,
                        [self._paste(frame, fill[:, i]) for fill in fills],
                        (self._paste(frame, step[:, i].float() / 255) for step in steps),
                    )

    def _read(self, start: int, stop: int) -> list[MaskedFrame]:
        if start >= stop:
            return []
        frames, holes = self.video.frames(range(start, stop)), self.hole.pixels(start, stop)
        patches = self.hole.patches(holes, start)
        return [
            MaskedFrame(frame, hole, self.canvas.from_frame(frame, hole), hidden)
            for frame, hole, hidden in zip(frames, holes, patches, strict=True)
        ]

    def _fill(
        self,
        stretch: Stretch,
        frames: Sequence[MaskedFrame],
        before: Sequence[SharedPredictions | None],
        bar: ProgressBar,
    ) -> tuple[list[Tensor], list[Tensor], list[SharedPredictions | None]]:
        """Samples a stretch.

        Returns:
            Each sample's fill [3, n, h, w] in [0, 1]; the first sample's steps as uint8; and what each sample
            hands on to the next stretch.
        """
        frames = [*frames, *[frames[-1]] * (stretch.end - stretch.start - len(frames))]
        truth = torch.stack([frame.canvas for frame in frames], dim=1)  # [3, n, h, w]
        hidden = torch.stack([frame.hidden for frame in frames])  # [n, rows, columns]
        samples = self.options.samples
        if not hidden.any():
            steps = [(truth * 255).round().byte()] * len(self.timesteps)
            bar.update(samples * len(self.timesteps))
            return [truth] * samples, steps, [None] * samples
        windows = [
            Window(f - stretch.start, row, column) for f in stretch.clips for row, column in self.tiles
        ]
        batches = make_batches(hidden, windows, self.grid, self.patch[0], BATCH[self.device.type])
        p, q = self.canvas.patch
        hidden_pixels = hidden.repeat_interleave(p, 1).repeat_interleave(q, 2)
        canvas = (truth.to(self.device) - self.mean) / self.std
        fills: list[Tensor] = []
        steps = []
        after: list[SharedPredictions | None] = []

        def to_pixels(x: Tensor) -> Tensor:
            return torch.where(hidden_pixels, (x * self.std + self.mean).clamp(0, 1).cpu(), truth)

        for number in range(samples):
            blended = BlendedWindows(self.model, canvas, batches, before[number], stretch.cut - stretch.start)
            self._check_is_filled(stretch, hidden_pixels & (blended.weight.cpu() == 0))
            keeps_steps = self.options.keeps_steps and number == 0

            def on_step(x0: Tensor, keep: bool = keeps_steps) -> None:
                bar.update()
                if keep:
                    steps.append((to_pixels(x0) * 255).round().byte())

            x0 = blended.sample(
                self._first_noise(stretch, number),
                self.options.sampler,
                self.options.steps,
                self._sampler_generator(stretch, number),
                on_step,
            )
            fills.append(to_pixels(x0))
            after.append(blended.predictions_ahead)
        return fills, steps, after

    def _first_noise(self, stretch: Stretch, number: int) -> Tensor:
        """x_T of a stretch of a sample, [3, n, h, w]; each frame has noise of its own."""
        frames = range(stretch.start, stretch.end)
        generators = [random_state(self.options.seed, number + 1, frame, 1) for frame in frames]
        noise = [torch.randn(3, *self.canvas.size, generator=generator) for generator in generators]
        return torch.stack(noise, dim=1).to(self.device)

    def _sampler_generator(self, stretch: Stretch, number: int) -> torch.Generator:
        """Generates the noise that a sampler adds on its way."""
        seed = random_state(self.options.seed, number + 1, stretch.start, 2).initial_seed()
        return torch.Generator(self.device).manual_seed(seed)

    def _check_is_filled(self, stretch: Stretch, unfilled: Tensor) -> None:
        frames = unfilled[: stretch.cut - stretch.start].flatten(1).any(1).nonzero().flatten().tolist()
        if not frames:
            return
        first, last = (min(stretch.start + f, self.video.num_frames - 1) for f in (frames[0], frames[-1]))
        what = "a tile of the frame" if self.canvas.tiles else "the whole frame"
        raise InputError(
            f"the mask hides {what} in all {self.clip} frames of the model's clips around frames {first} to "
            f"{last}, so there is nothing to fill it from; hide less"
            + (" or leave out --tiles" * self.canvas.tiles)
        )

    def _paste(self, frame: MaskedFrame, fill: Tensor) -> np.ndarray:
        """The frame with a fill of the canvas, [3, h, w], in its hole."""
        if not frame.hole.any():
            return frame.frame
        return paste(frame.frame, self.canvas.to_frame(fill), frame.hole, self.hole.feather)
