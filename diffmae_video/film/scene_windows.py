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

from diffmae_video.film.scene import Scene
from diffmae_video.tokens import Triple

STRIDES = (1, 2, 3, 4)


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

    def corner_around(self, place: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
        """A random corner of a window that contains a place (row, column) of the canvas."""
        row, column = (int(p) - int(rng.integers(side)) for p, side in zip(place, self.size, strict=True))
        return row, column

    def longest_stride(self, num_frames: int) -> int:
        """The largest stride whose windows fit into a scene; 1 if none does."""
        near, p = self.grid[0] - self.references, self.patch[0]
        return max([s for s in STRIDES if ((near - 1) * s + 1) * p <= num_frames], default=1)


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


def cut_window(scene: Scene, shape: WindowShape, choice: FrameChoice, corner: tuple[int, int]) -> Window:
    """Cuts a window out of a scene at (row, column) of its canvas.

    The targets of a rehearsal are the known patches that it hides; those of another scene are the hole's own.
    """
    cut = scene.cut(choice.frames, *corner, *shape.size)
    is_outside = touched(~cut.known & ~cut.hidden, shape.patch)
    is_unknown = touched(~cut.known, shape.patch)
    if scene.pretended is None:
        masked = touched(cut.hidden, shape.patch)
    else:
        masked = touched(cut.pretended, shape.patch) & ~is_unknown
    filled, truth = (values.permute(3, 0, 1, 2).float() for values in (cut.filled, cut.pixels))
    return Window(filled, truth, ~is_outside, masked)
