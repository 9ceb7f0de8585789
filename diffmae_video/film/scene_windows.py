"""Windows: the clips of a scene that the fitted model reads and predicts.

A window is a part of the canvas in some frames: most of them every few frames, so that they show how things
move, and a few from elsewhere in the scene (references), which may show what is hidden now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from diffmae_video.film.base_fill import base_fill
from diffmae_video.film.scene import Scene
from diffmae_video.tokens import Triple

STRIDES = (1, 2, 3, 4)
REACH = 24  # frames before and after a window that the base fill reads
FAR = 24  # further frames of the scene, evenly spread, that it reads


class FrameChoice(NamedTuple):
    """The frames of a window.

    Attributes:
        frames: their numbers in the scene, int64 [T].
        times: where each time step is, float [t], counted in time steps.
    """

    frames: np.ndarray
    times: Tensor


@dataclass(frozen=True)
class WindowShape:
    """The model's clips.

    Attributes:
        grid: patches (t, h, w).
        patch: (frames, height, width) in pixels.
        references: time steps of a window that lie far away in time.
    """

    grid: Triple
    patch: Triple
    references: int

    @property
    def size(self) -> tuple[int, int]:
        return self.grid[1] * self.patch[1], self.grid[2] * self.patch[2]

    @property
    def frames(self) -> int:
        return self.grid[0] * self.patch[0]

    def frames_at(self, start: int, stride: int, references: Sequence[int], num_frames: int) -> FrameChoice:
        """Time steps every ``stride`` from frame ``start``, and those that start at the references.

        Frames that the scene does not have are replaced by its last one.
        """
        t, p = self.grid[0], self.patch[0]
        near = [start + stride * p * k for k in range(t - self.references)]
        return self._frames_of(np.array(sorted([*near, *references])), num_frames)

    def _frames_of(self, first: np.ndarray, num_frames: int) -> FrameChoice:
        p = self.patch[0]
        frames = np.minimum((first[:, None] + np.arange(p)).reshape(-1), num_frames - 1)
        return FrameChoice(frames, torch.from_numpy((first - first[0]) / p).float())

    def with_references(self, choice: FrameChoice, references: Sequence[int], num_frames: int) -> FrameChoice:
        """The frames of a choice together with time steps that start at the references."""
        first = sorted([*choice.frames[:: self.patch[0]].tolist(), *references])
        return self._frames_of(np.array(first), num_frames)

    def random_frames(self, num_frames: int, rng: np.random.Generator) -> FrameChoice:
        """A random stride, start and references."""
        p = self.patch[0]
        stride = int(rng.integers(1, self.longest_stride(num_frames) + 1))
        span = ((self.grid[0] - self.references - 1) * stride + 1) * p
        start = int(rng.integers(max(1, num_frames - span + 1)))
        references = rng.integers(0, max(1, num_frames - p + 1), self.references)
        return self.frames_at(start, stride, references.tolist(), num_frames)

    def random_corner(self, canvas: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
        """A random place of a window on the canvas."""
        row, column = (
            int(rng.integers(max(1, whole - side + 1))) for whole, side in zip(canvas, self.size, strict=True)
        )
        return row, column

    def longest_stride(self, num_frames: int) -> int:
        """The largest stride whose windows fit into a scene; 1 if none does."""
        near, p = self.grid[0] - self.references, self.patch[0]
        return max([s for s in STRIDES if ((near - 1) * s + 1) * p <= num_frames], default=1)


def frames_read(choice: FrameChoice, num_frames: int) -> np.ndarray:
    """The frames that a window's base fill reads: those near the window's frames, and some of all others."""
    near = (choice.frames[:, None] + np.arange(-REACH, REACH + 1)).reshape(-1)
    far = np.linspace(0, num_frames - 1, min(FAR, num_frames)).round().astype(int)
    every = np.union1d(np.union1d(near, far), choice.frames)
    return every[(every >= 0) & (every < num_frames)]


def touched(pixels: Tensor, patch: Triple) -> Tensor:
    """The patches that pixels, bool [T, h, w], touch: bool [t, rows, columns]."""
    return F.max_pool3d(pixels[None, None].float(), patch)[0, 0] > 0


class Window(NamedTuple):
    """A part of the canvas in the frames of a window, with its base fill.

    Attributes:
        filled: float [3, T, h, w] in levels of 255: the known pixels, and elsewhere the base fill.
        truth: the same, as the film has it; what the hole hides is 0.
        visible: bool [t, rows, columns], patches that lie inside of their frames.
        masked: bool [t, rows, columns], patches to predict.
    """

    filled: Tensor
    truth: Tensor
    visible: Tensor
    masked: Tensor

    def mirrored(self) -> Window:
        return Window(*(part.flip(-1) for part in self))


def cut_window(
    scene: Scene,
    shape: WindowShape,
    choice: FrameChoice,
    corner: tuple[int, int],
    pretended: Tensor | None,
    every: np.ndarray,
) -> Window:
    """Cuts a window out of a scene.

    Args:
        corner: row and column on the canvas.
        pretended: bool [n, h, w], what training hides in the frames ``every``; the targets are then the known
            patches under it. None makes the hole's own patches the targets.
        every: the frames that the base fill reads, which contain the window's.
    """
    cut = scene.cut(every, *corner, *shape.size)
    pixels = cut.pixels.permute(0, 3, 1, 2).float()  # [n, 3, h, w]
    known = cut.known if pretended is None else cut.known & ~pretended
    rows = torch.from_numpy(np.searchsorted(every, choice.frames))
    base = base_fill(pixels, known, torch.from_numpy(every).float(), torch.from_numpy(choice.frames).float())
    filled = torch.where(known[rows, None], pixels[rows], base)
    is_unknown = touched(~cut.known[rows], shape.patch)
    is_outside = touched(~cut.known[rows] & ~cut.hidden[rows], shape.patch)
    if pretended is None:
        masked = touched(cut.hidden[rows], shape.patch)
    else:
        masked = touched(pretended[rows], shape.patch) & ~is_unknown
    return Window(filled.transpose(0, 1), pixels[rows].transpose(0, 1), ~is_outside, masked)
