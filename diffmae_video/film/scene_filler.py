"""Fills a few frames of a scene with a fitted model: many overlapping windows, sampled jointly.

At every step each window corrects the base fill of its hidden patches; where windows overlap, a weighted mean
is taken, and one x_t of all frames goes on to the next step (MultiDiffusion, Bar-Tal et al. 2023). Windows
are shifted by half a patch in space, and by an odd number of frames in time, so that the patch borders of one
fall inside the patches of another (our choice).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffmae_video.diffusion import PredictX0
from diffmae_video.errors import InputError
from diffmae_video.film.fit_windows import Colours
from diffmae_video.film.scene import Scene
from diffmae_video.film.scene_windows import (
    FrameChoice,
    Window,
    WindowShape,
    cut_window,
    touched,
)
from diffmae_video.film.windows import hat, starts
from diffmae_video.masks import Mask
from diffmae_video.models import PretrainingModel
from diffmae_video.randomness import random_state
from diffmae_video.tokens import gather_tokens, patchify, unpatchify

BASE = "base"
FILLS = (BASE, "first", "mean", "sample")
AVERAGED = 3  # samples of the fill "mean"
BATCH = 8  # windows that go through the model together
REFERENCE_CANDIDATES = 8


class PlacedWindow(NamedTuple):
    """A window and where it lies.

    Attributes:
        rows, columns: its place in the region that is filled.
        frames: for each of its frames, the number in the part of the scene that is filled, int64 [T].
        inside: which of its frames are filled, bool [T].
        base: float16 [3, T, h, w] in levels of 255, with the base fill in the hole.
        mask: the mask of its clip, of one clip.
        clip: float [3, 2 T, h, w], None once it is encoded.
    """

    rows: slice
    columns: slice
    frames: Tensor
    inside: Tensor
    base: Tensor
    masked: Tensor
    visible: Tensor
    times: Tensor
    clip: Tensor


class SceneFiller:
    """Fills the frames from ``start`` up to ``stop`` of a scene.

    Args:
        model: a fitted model, in evaluation mode.
        wanted: bool [stop - start, H, W], the pixels to fill, which the scene hides.
    """

    @torch.no_grad()
    def __init__(
        self,
        model: PretrainingModel,
        scene: Scene,
        shape: WindowShape,
        colours: Colours,
        start: int,
        stop: int,
        wanted: np.ndarray,
    ) -> None:
        self.model, self.scene, self.shape, self.colours = model, scene, shape, colours
        self.start, self.stop, self.wanted = start, stop, wanted
        self.device = next(model.parameters()).device
        self.top, self.left, height, width = self._region()
        self.region = self._on_canvas(wanted, height, width)  # [n, h, w]
        self.weights = hat(shape.frames)[:, None, None] * hat(shape.size[0])[:, None] * hat(shape.size[1])
        self.base = self._base()  # [3, n, h, w]

    @torch.no_grad()
    def fill(self, kind: str, sampler: str, steps: int, seed: int, sample: int) -> np.ndarray:
        """The filled frames, uint8 [n, H, W, 3].

        Args:
            kind: ``base``, the base fill; ``first``, the prediction from pure noise; ``sample``; or ``mean``,
                of ``AVERAGED`` samples.
            sampler, steps: see :func:`diffmae_video.diffusion.sample`.
            seed, sample: of the noise, which each frame has of its own; ``sample`` counts from 1.

        Raises:
            InputError: an unknown kind of fill or sampler, or steps outside 1..T.
        """
        if kind not in FILLS:
            raise InputError(f"unknown fill {kind!r}; choose from {', '.join(FILLS)}")
        if kind == BASE:
            return self.base_frames()
        if kind == "first":
            return self.frames(next(self.steps(sampler, steps, seed, sample)))
        count = AVERAGED if kind == "mean" else 1
        mean = torch.zeros_like(self.base)
        for k in range(count):
            *_, last = self.steps(sampler, steps, seed, (sample - 1) * count + k + 1)
            mean += last / count
        return self.frames(mean)

    def base_frames(self) -> np.ndarray:
        """The frames with the base fill alone, uint8 [n, H, W, 3]."""
        return self.frames(torch.zeros_like(self.base))

    @torch.no_grad()
    def all_fills(self, sampler: str, steps: int, seed: int) -> dict[str, np.ndarray]:
        """Every kind of fill, by name; the first sample is also the first of those that are averaged."""
        mean = torch.zeros_like(self.base)
        fills = {BASE: self.base_frames()}
        for k in range(AVERAGED):
            predicted = list(self.steps(sampler, steps, seed, k + 1))
            mean += predicted[-1] / AVERAGED
            if k == 0:
                fills |= {"first": self.frames(predicted[0]), "sample": self.frames(predicted[-1])}
        return {**fills, "mean": self.frames(mean)}

    @cached_property
    def batches(self) -> list[tuple[list[PlacedWindow], Mask, PredictX0]]:
        """All windows, encoded; the base fill needs none."""
        with torch.no_grad():
            return [self._encode(batch) for batch in _batches(list(self._windows()))]

    @cached_property
    def total(self) -> Tensor:
        """The sum of the weights of all windows that predict a pixel, [n, h, w]."""
        total = torch.zeros(self.region.shape)
        for batch, _, _ in self.batches:
            for window in batch:
                self._add(total[None], window, (self.weights * self._pixels_of(window.masked))[None])
        return total

    @torch.no_grad()
    def steps(self, sampler: str, steps: int, seed: int, sample: int) -> Iterator[Tensor]:
        """The predicted correction after every step, [3, n, h, w], in units of the colours' correction."""
        generator = random_state(seed, sample, self.scene.first + self.start, 2)
        run = self.model.reverse_steps(
            self._predict_x0, self._noise(seed, sample)[None], sampler, steps, generator=generator
        )
        for _, x0 in run:
            yield x0[0]

    def frames(self, correction: Tensor) -> np.ndarray:
        """The scene's frames with a corrected base fill in the wanted pixels: uint8 [n, H, W, 3]."""
        filled = (self.base + self.colours.correction * correction).round().clamp(0, 255).byte()
        frames = np.array(self.scene.pixels[self.start : self.stop])
        for i, (place, wanted) in enumerate(zip(self._places(), self.wanted, strict=True)):
            rows, columns = np.nonzero(wanted)
            if len(rows):
                frames[i, rows, columns] = filled[:, i, rows + place[0], columns + place[1]].T.numpy()
        return frames

    # --- windows -----------------------------------------------------------------------------

    def _region(self) -> tuple[int, int, int, int]:
        """Top, left, height and width of the canvas's part that holds all wanted pixels and fits a window."""
        offsets = self.scene.offsets[self.start : self.stop]
        corners = []
        for place, wanted in zip(offsets, self.wanted, strict=True):
            rows, columns = np.nonzero(wanted)
            if len(rows):
                low, high = (rows.min(), columns.min()), (rows.max() + 1, columns.max() + 1)
                corners.append(np.concatenate([place + low, place + high]))
        if not corners:
            return 0, 0, *self.shape.size
        found = np.array(corners)
        ends = []
        for low, high, side, whole in zip(
            found[:, :2].min(0), found[:, 2:].max(0), self.shape.size, self.scene.canvas_size, strict=True
        ):
            margin = max(side // 4, -(-(side - (high - low)) // 2))
            low = max(0, min(low - margin, whole - side))
            ends.append((int(low), int(max(low + side, min(whole, high + margin)))))
        (top, bottom), (left, right) = ends
        return top, left, bottom - top, right - left

    def _places(self) -> np.ndarray:
        """Where each frame's top left corner lies in the region, [n, 2]; may be negative."""
        places: np.ndarray = self.scene.offsets[self.start : self.stop] - (self.top, self.left)
        return places

    def _on_canvas(self, pixels: np.ndarray, height: int, width: int) -> Tensor:
        region = np.zeros((len(pixels), height, width), bool)
        for i, place in enumerate(self._places()):
            rows, columns = np.nonzero(pixels[i])
            region[i, rows + place[0], columns + place[1]] = True
        return torch.from_numpy(region)

    def _frame_choices(self) -> Iterator[FrameChoice]:
        """Windows in time, without their references."""
        n, shape, p = self.scene.num_frames, self.shape, self.shape.patch[0]
        near = shape.grid[0] - shape.references
        span = near * p
        step = span // 2 + 1 - span // 2 % 2  # odd
        first = [self.start + s for s in starts(max(span, self.stop - self.start), span, step)]
        for start in sorted({max(0, min(s, n - span)) for s in first}):
            yield shape.frames_at(start, 1, [], n)

    def _windows(self) -> Iterator[PlacedWindow]:
        height, width = self.region.shape[1:]
        (side_y, side_x), (_, p, q) = self.shape.size, self.shape.patch
        corners = [
            (row, column)
            for row in starts(height, side_y, side_y // 2 - p // 2)
            for column in starts(width, side_x, side_x // 2 - q // 2)
            if self.region[:, row : row + side_y, column : column + side_x].any()
        ]
        references = {corner: self._references(corner) for corner in corners}
        for choice in self._frame_choices():
            for row, column in corners:
                corner = (row + self.top, column + self.left)
                whole = self.shape.with_references(choice, references[row, column], self.scene.num_frames)
                window = cut_window(self.scene, self.shape, whole, corner)
                placed = self._place(window, whole, row, column)
                if len(placed.masked):
                    yield placed

    def _place(self, window: Window, choice: FrameChoice, row: int, column: int) -> PlacedWindow:
        frames = torch.from_numpy(choice.frames) - self.start
        inside = (frames >= 0) & (frames < self.stop - self.start)
        is_first = torch.zeros_like(inside)  # a frame may also be a reference, or stand in for missing ones
        is_first[torch.from_numpy(np.unique(choice.frames, return_index=True)[1])] = True
        inside &= is_first
        height, width = self.shape.size
        rows, columns = slice(row, row + height), slice(column, column + width)
        wanted = torch.zeros(len(frames), height, width, dtype=torch.bool)
        wanted[inside] = self.region[frames[inside], rows, columns]
        masked = touched(wanted, self.shape.patch) & window.visible
        clip = self.colours.clip(window)
        return PlacedWindow(
            rows,
            columns,
            frames,
            inside,
            window.filled.half(),
            masked.flatten().nonzero()[:, 0],
            window.visible.flatten().nonzero()[:, 0],
            choice.times.repeat(2),
            clip,
        )

    def _references(self, corner: tuple[int, int]) -> list[int]:
        """Where the references of the windows at a place start: where it is best known, near in time."""
        n, p = self.scene.num_frames, self.shape.patch[0]
        candidates = np.unique(
            np.linspace(0, max(0, n - p), min(n, REFERENCE_CANDIDATES)).round().astype(int)
        )
        row, column = corner[0] + self.top, corner[1] + self.left
        height, width = self.shape.size
        known = self.scene.cut(candidates, row, column, height, width).known
        wanted = self.region[:, corner[0] : corner[0] + height, corner[1] : corner[1] + width].any(0)
        shares = known[:, wanted].float().mean(1).numpy()
        middle = (self.start + self.stop) / 2
        order = np.lexsort((np.abs(candidates - middle), -np.round(shares, 1)))
        best = np.resize(order, self.shape.references)  # a short scene's candidates are used repeatedly
        return candidates[best].tolist()

    def _base(self) -> Tensor:
        """The base fill of the region, [3, n, h, w] in levels of 255; used where no window predicts."""
        frames = np.arange(self.start, self.stop)
        cut = self.scene.cut(frames, self.top, self.left, *self.region.shape[1:])
        return cut.filled.permute(3, 0, 1, 2).float()

    # --- prediction ----------------------------------------------------------------------------

    def _encode(self, batch: list[PlacedWindow]) -> tuple[list[PlacedWindow], Mask, PredictX0]:
        t, h, w = self.shape.grid
        tokens = t * h * w
        most = max(len(window.masked) for window in batch)
        masked = torch.stack([_padded(window.masked, most) + tokens for window in batch])
        mask = Mask(
            torch.stack([window.visible for window in batch]),
            masked,
            (2 * t, h, w),
            torch.stack([window.times for window in batch]),
        ).to(self.device)
        clips = torch.stack([window.clip for window in batch]).to(self.device)
        predict = self.model.predictor(clips, mask)
        return [window._replace(clip=torch.zeros(0)) for window in batch], mask, predict

    def _predict_x0(self, xt: Tensor, t: Tensor) -> Tensor:
        """The weighted mean of all windows' corrections, [1, 3, n, h, w]; 0 where there is none."""
        summed = torch.zeros(3, *self.region.shape)
        grid, patch = self.shape.grid, self.shape.patch
        for batch, mask, predict in self.batches:
            parts = torch.stack([self._part(xt[0], window) for window in batch])  # [B, 3, T, h, w]
            patches = patchify(parts, patch)
            index = mask.masked.cpu() - grid[0] * grid[1] * grid[2]
            noised = gather_tokens(patches, index).to(self.device)
            predicted = predict(noised, t.to(self.device).expand(len(batch))).float().cpu()
            whole = torch.zeros_like(patches).scatter(1, index[..., None].expand_as(predicted), predicted)
            for window, correction in zip(batch, unpatchify(whole, grid, patch), strict=True):
                filled = self.colours.correction * correction + window.base.float()
                weights = self.weights * self._pixels_of(window.masked)
                self._add(summed, window, filled * weights)
        mean = summed / self.total.clamp_min(1e-9)
        correction = (mean - self.base) / self.colours.correction
        return torch.where(self.total > 0, correction, 0)[None]

    def _pixels_of(self, masked: Tensor) -> Tensor:
        """The pixels of a window's masked patches, bool [T, h, w]."""
        (t, h, w), (a, p, q) = self.shape.grid, self.shape.patch
        chosen = torch.zeros(t * h * w, dtype=torch.bool)
        chosen[masked] = True
        return chosen.view(t, h, w).repeat_interleave(a, 0).repeat_interleave(p, 1).repeat_interleave(q, 2)

    def _part(self, values: Tensor, window: PlacedWindow) -> Tensor:
        """A window's part of values [3, n, h, w]: [3, T, h, w], 0 in the frames that are not filled."""
        part = values.new_zeros(3, len(window.frames), *self.shape.size)
        part[:, window.inside] = values[:, window.frames[window.inside], window.rows, window.columns]
        return part

    def _add(self, sums: Tensor, window: PlacedWindow, values: Tensor) -> None:
        """Adds a window's values [C, T, h, w] to sums [C, n, h, w]."""
        place = (slice(None), window.frames[window.inside], window.rows, window.columns)
        sums[place] += values[:, window.inside]

    def _noise(self, seed: int, sample: int) -> Tensor:
        """x_T [3, n, h, w]. A frame's noise depends only on its number, the seed and the sample."""
        height, width = self.region.shape[1:]
        high, wide = self.scene.frame_size
        noise = torch.zeros(3, self.stop - self.start, height, width)
        for i, (row, column) in enumerate(self._places().tolist()):
            generator = random_state(seed, sample, self.scene.first + self.start + i, 1)
            whole = torch.randn(3, high, wide, generator=generator)
            r0, c0 = max(0, -row), max(0, -column)
            r1, c1 = min(high, height - row), min(wide, width - column)
            if r0 < r1 and c0 < c1:
                noise[:, i, r0 + row : r1 + row, c0 + column : c1 + column] = whole[:, r0:r1, c0:c1]
        return noise


def _padded(tokens: Tensor, count: int) -> Tensor:
    """Repeats the last token: it is predicted more than once, with the same result."""
    return torch.cat([tokens, tokens[-1:].expand(count - len(tokens))])


def _batches(windows: list[PlacedWindow]) -> Iterator[list[PlacedWindow]]:
    """Windows of equally many visible patches, and about as many masked ones, together."""
    windows = sorted(windows, key=lambda window: (len(window.visible), len(window.masked)))
    batch: list[PlacedWindow] = []
    for window in windows:
        if batch and (len(batch) == BATCH or len(window.visible) != len(batch[0].visible)):
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch
