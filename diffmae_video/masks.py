"""Masks: which patches of a clip the encoder sees and which ones the model predicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diffmae_video.errors import InputError
from diffmae_video.mask_kinds import MASKS
from diffmae_video.tokens import Triple

Generator = torch.Generator | None  # None: torch's own random state
Device = torch.device | str | None


@dataclass(frozen=True)
class Mask:
    """Indices of the visible and the masked tokens of a batch of clips.

    Both are int64 and ascending, and every clip of the batch has the same number of them. A token's
    index is ``(t * h + row) * w + column``.

    Attributes:
        visible: [B, V].
        masked: [B, M], with V + M = t * h * w.
        grid: (t, h, w), in patches.
        times: float [B, t], the place in time of each time step, counted in time steps; None stands for
            0, 1, 2, ... Only models with rotary positions read it. See :meth:`at`.
    """

    visible: Tensor
    masked: Tensor
    grid: Triple
    times: Tensor | None = None

    def __post_init__(self) -> None:
        t, h, w = self.grid
        object.__setattr__(self, "grid", (t, h, w))  # from a list, say

    @property
    def tokens(self) -> Tensor:
        """The visible tokens followed by the masked ones, [B, V + M]."""
        return torch.cat([self.visible, self.masked], dim=1)

    # --- kinds -------------------------------------------------------------------------------

    @classmethod
    def random(
        cls, batch: int, grid: Triple, ratio: float, generator: Generator = None, device: Device = None
    ) -> Mask:
        """Masks a share ``ratio`` of all spacetime patches, drawn uniformly and independently per clip.

        ``V = floor(N * (1 - ratio) + 1e-6)``, at least 1. Source: MAE; DiffMAE's video masks.

        Raises:
            InputError: the ratio leaves nothing visible or nothing masked.
        """
        order = _random_order(batch, math.prod(grid), generator, device)
        return cls._split(order, _visible_count(math.prod(grid), ratio), grid)

    @classmethod
    def tube(
        cls, batch: int, grid: Triple, ratio: float, generator: Generator = None, device: Device = None
    ) -> Mask:
        """Masks one random 2-D pattern, repeated over time. Source: VideoMAE."""
        t, h, w = grid
        order = _random_order(batch, h * w, generator, device)
        masked = torch.ones(batch, h * w, dtype=torch.bool, device=order.device)
        masked.scatter_(1, order[:, : _visible_count(h * w, ratio)], False)
        return cls.from_bool(masked.view(batch, 1, h, w).expand(-1, t, -1, -1))

    @classmethod
    def frame(
        cls,
        batch: int,
        grid: Triple,
        ratio: float,
        generator: Generator = None,
        device: Device = None,
        future: bool = False,
    ) -> Mask:
        """Masks a share ``ratio`` of the time steps: random ones, or with ``future`` the last ones.

        At least one time step stays visible. Our choice.

        Raises:
            InputError: the ratio leaves no time step masked, as with an image's single time step.
        """
        t, h, w = grid
        visible = _visible_count(t, ratio)
        order = _random_order(batch, t, generator, device)
        if future:
            order = torch.arange(t, device=order.device).expand(batch, -1)
        masked = torch.ones(batch, t, dtype=torch.bool, device=order.device)
        masked.scatter_(1, order[:, :visible], False)
        return cls.from_bool(masked[:, :, None, None].expand(-1, -1, h, w))

    @classmethod
    def block(
        cls, batch: int, grid: Triple, ratio: float, generator: Generator = None, device: Device = None
    ) -> Mask:
        """Masks random spacetime cuboids until as many patches are masked as by ``random``.

        A cuboid spans a quarter to a half of each side in space, and any length in time. The last one is
        cut off when the count is reached. Our choice.

        Raises:
            InputError: the ratio leaves nothing visible or nothing masked.
        """
        target = math.prod(grid) - _visible_count(math.prod(grid), ratio)
        if generator is not None and device is None:
            device = generator.device
        draw = _random_integers(generator)
        masked = torch.zeros(batch, *grid, dtype=torch.bool)
        for clip in masked:
            count = 0
            while count < target:
                sides = [draw(1, grid[0]), *(draw(max(1, n // 4), max(1, n // 2)) for n in grid[1:])]
                corner = [draw(0, n - side) for n, side in zip(grid, sides, strict=True)]
                cuboid = clip[tuple(slice(c, c + side) for c, side in zip(corner, sides, strict=True))]
                fresh = (~cuboid).nonzero()[: target - count]
                cuboid[tuple(fresh.T)] = True
                count += len(fresh)
        return cls.from_bool(masked.to(device))

    @classmethod
    def box(
        cls, batch: int, grid: Triple, ratio: float, generator: Generator = None, device: Device = None
    ) -> Mask:
        """Masks one random rectangle, the same in all frames, as if an object were to be removed.

        Neither side is more than about twice the other, where the grid allows it. The last row is cut off
        when a share ``ratio`` is masked. Our choice.

        Raises:
            InputError: the ratio leaves nothing visible or nothing masked.
        """
        t, h, w = grid
        count = h * w - _visible_count(h * w, ratio)
        draw = _random_integers(generator)
        masked = torch.zeros(batch, h, w, dtype=torch.bool)
        for frame in masked:
            low = min(h, max(math.ceil(count / w), math.isqrt(count // 2)))
            rows = draw(low, max(low, min(h, math.ceil(math.sqrt(2 * count)))))
            columns = math.ceil(count / rows)
            top, left = draw(0, h - rows), draw(0, w - columns)
            inside = torch.arange(count)
            frame[top + inside // columns, left + inside % columns] = True
        if generator is not None and device is None:
            device = generator.device
        return cls.from_bool(masked.to(device)[:, None].expand(-1, t, -1, -1))

    @classmethod
    def center(cls, batch: int, grid: Triple, device: Device = None) -> Mask:
        """Masks the central half of height and width in all frames. Source: DiffMAE's project page."""
        t, h, w = grid
        high, wide = max(1, h // 2), max(1, w // 2)
        top, left = (h - high) // 2, (w - wide) // 2
        masked = torch.zeros(batch, t, h, w, dtype=torch.bool, device=device)
        masked[:, :, top : top + high, left : left + wide] = True
        return cls.from_bool(masked)

    @classmethod
    def draw(
        cls,
        kind: str,
        batch: int,
        grid: Triple,
        ratio: float,
        generator: Generator = None,
        device: Device = None,
    ) -> Mask:
        """Draws a mask of a kind given by name; ``center`` ignores the ratio.

        Raises:
            InputError: an unknown kind, or a ratio that leaves nothing visible or nothing masked.
        """
        if kind not in MASKS:
            raise InputError(f"unknown mask {kind!r}; choose from {', '.join(MASKS)}")
        if kind == "center":
            return cls.center(batch, grid, device)
        return getattr(cls, kind)(batch, grid, ratio, generator=generator, device=device)

    def at(self, times: Tensor | None) -> Mask:
        """The same mask for clips whose frames are unevenly spaced in time.

        Args:
            times: float [B, t], or [1, t] for all clips; see the attribute. None leaves the mask as it is.

        Raises:
            InputError: another number of clips or of time steps than the mask's.
        """
        if times is None:
            return self
        if times.ndim != 2 or len(times) not in (1, self.batch) or times.shape[1] != self.grid[0]:
            raise InputError(
                f"times of {list(times.shape)} do not fit a mask of {self.batch} clips of {self.grid[0]} "
                "time steps"
            )
        return replace(self, times=times.to(self.masked.device).expand(self.batch, -1))

    # --- from and to other forms -------------------------------------------------------------

    @classmethod
    def from_bool(cls, masked: Tensor) -> Mask:
        """A mask from booleans per patch, [B, t, h, w], True where masked.

        Raises:
            InputError: nothing is visible, nothing is masked, or the clips of the batch mask different
                numbers of patches.
        """
        grid = (int(masked.shape[1]), int(masked.shape[2]), int(masked.shape[3]))
        flat = masked.flatten(1)
        counts = flat.sum(1)
        count = int(counts[0])
        if bool((counts != count).any()):
            raise InputError(
                f"the clips of a batch must mask the same number of patches, but mask {counts.tolist()}; "
                "inpaint them one at a time"
            )
        # A stable sort keeps indices ascending on both sides of the split.
        order = flat.to(torch.uint8).argsort(dim=1, stable=True)
        return cls._split(order, _check_visible(flat.shape[1] - count, flat.shape[1]), grid, ordered=True)

    @classmethod
    def from_pixels(cls, mask: Tensor, grid: Triple, patch: Triple) -> Mask:
        """A mask from pixels: every patch with a non-zero pixel is masked.

        Args:
            mask: [H, W], shared by all frames, or [T, H, W] or [B, T, H, W].
            grid: of the clip, (t, h, w) in patches.
            patch: (frames, height, width) of a patch, in pixels.

        Raises:
            InputError: the size is not the grid's, nothing is visible, nothing is masked, or the clips
                of the batch mask different numbers of patches.
        """
        size = tuple(n * side for n, side in zip(grid, patch, strict=True))
        if mask.ndim == 2:
            mask = mask.expand(size[0], -1, -1)
        if mask.ndim == 3:
            mask = mask[None]
        if mask.ndim != 4 or tuple(mask.shape[1:]) != size:
            raise InputError(f"a mask of {list(mask.shape)} pixels does not fit a clip of {list(size)}")
        (t, h, w), (a, p, q) = grid, patch
        touched = (mask != 0).reshape(-1, t, a, h, p, w, q).any(dim=6).any(dim=4).any(dim=2)
        return cls.from_bool(touched)

    @classmethod
    def cat(cls, masks: Sequence[Mask]) -> Mask:
        """Joins masks into one batch, in order.

        Raises:
            InputError: their grids or numbers of visible patches differ, or only some have times.
        """
        if len({(m.grid, m.visible.shape[1]) for m in masks}) != 1:
            raise InputError(
                "masks can be joined only if they have the same grid and the same number of visible patches"
            )
        times = [m.times for m in masks if m.times is not None]
        if times and len(times) != len(masks):
            raise InputError("masks can be joined only if all of them have times, or none")
        return cls(
            torch.cat([m.visible for m in masks]),
            torch.cat([m.masked for m in masks]),
            masks[0].grid,
            torch.cat(times) if times else None,
        )

    def to_bool(self) -> Tensor:
        """Booleans per patch: [B, t, h, w], True where masked."""
        flat = torch.zeros(self.batch, math.prod(self.grid), dtype=torch.bool, device=self.masked.device)
        return flat.scatter_(1, self.masked, True).view(-1, *self.grid)

    def to_pixels(self, patch: Triple) -> Tensor:
        """Booleans per pixel: [B, 1, T, H, W], True where masked."""
        pixels = self.to_bool()[:, None]
        for dim, side in zip((2, 3, 4), patch, strict=True):
            pixels = pixels.repeat_interleave(side, dim=dim)
        return pixels

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Mask:
        """The same mask on a device."""
        return self._map(lambda x: x.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Mask:
        """The same mask in pinned memory, from which copies to a GPU need no wait. Data loaders call this."""
        return self._map(Tensor.pin_memory)

    def check_fits(self, grid: Triple, batch: int) -> None:
        """Checks that the mask is for a batch of clips.

        Raises:
            InputError: it has another grid or batch size.
        """
        if self.grid != grid:
            raise InputError(f"the mask is for a grid of {self.grid} patches, but the clip has {grid}")
        if self.batch != batch:
            raise InputError(f"a mask of {self.batch} clips does not fit a batch of {batch}")

    def repeat_interleave(self, count: int) -> Mask:
        """Repeats each clip's mask ``count`` times in a row."""
        return self._map(lambda x: x.repeat_interleave(count, dim=0))

    def _map(self, function: Callable[[Tensor], Tensor]) -> Mask:
        times = None if self.times is None else function(self.times)
        return Mask(function(self.visible), function(self.masked), self.grid, times)

    @property
    def batch(self) -> int:
        return self.visible.shape[0]

    @property
    def ratio(self) -> float:
        """The share of patches that are masked."""
        return self.masked.shape[1] / math.prod(self.grid)

    @classmethod
    def _split(cls, order: Tensor, visible: int, grid: Triple, ordered: bool = False) -> Mask:
        first, last = order[:, :visible], order[:, visible:]
        if not ordered:
            first, last = first.sort(dim=1).values, last.sort(dim=1).values
        return cls(first.contiguous(), last.contiguous(), grid)


def _random_order(batch: int, count: int, generator: Generator, device: Device) -> Tensor:
    if generator is not None:
        device = generator.device if device is None else device
        return (
            torch.rand(batch, count, generator=generator, device=generator.device).argsort(dim=1).to(device)
        )
    return torch.rand(batch, count, device=device).argsort(dim=1)


def _random_integers(generator: Generator) -> Callable[[int, int], int]:
    """A function that draws an integer between two, both included."""
    device = "cpu" if generator is None else generator.device
    return lambda low, high: int(torch.randint(low, high + 1, (), generator=generator, device=device))


def _visible_count(count: int, ratio: float) -> int:
    if not 0 < ratio < 1:
        raise InputError(
            f"mask ratio {ratio}: must lie between 0 and 1; a ratio of 1 leaves nothing visible, a ratio of "
            "0 nothing masked"
        )
    return _check_visible(max(1, math.floor(count * (1 - ratio) + 1e-6)), count)


def _check_visible(visible: int, count: int) -> int:
    if visible <= 0:
        raise InputError(f"the mask leaves none of the {count} patches visible; mask fewer")
    if visible >= count:
        raise InputError(f"the mask leaves none of the {count} patches masked; mask more")
    return visible
