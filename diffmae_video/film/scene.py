"""A scene: one shot of a film on a canvas that follows the camera, without what the hole hides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Cut(NamedTuple):
    """The same part of the canvas in several frames.

    Attributes:
        pixels: uint8 [n, h, w, 3]; 0 where they are not known.
        known: bool [n, h, w]: inside the frame and not hidden.
        hidden: bool [n, h, w]: inside the frame and hidden.
    """

    pixels: Tensor
    known: Tensor
    hidden: Tensor


@dataclass(frozen=True)
class Scene:
    """One shot of a film.

    Every frame lies at its own place on a common canvas, so that the same place of the canvas shows the same
    part of the scene. Places are in pixels.

    Attributes:
        first: the number of the shot's first frame in the film.
        pixels: uint8 [n, H, W, 3]; hidden pixels are 0.
        hidden: bool [n, H, W].
        offsets: int64 [n, 2], row and column of each frame's top left corner on the canvas, 0 or more.
    """

    first: int
    pixels: np.ndarray
    hidden: np.ndarray
    offsets: np.ndarray

    @property
    def num_frames(self) -> int:
        return len(self.pixels)

    @property
    def frame_size(self) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[2]

    @property
    def canvas_size(self) -> tuple[int, int]:
        height, width = self.frame_size
        return int(self.offsets[:, 0].max()) + height, int(self.offsets[:, 1].max()) + width

    def cut(self, frames: np.ndarray, row: int, column: int, height: int, width: int) -> Cut:
        """The part of the canvas at (row, column) in the given frames of the scene."""
        n = len(frames)
        pixels = np.zeros((n, height, width, 3), np.uint8)
        inside = np.zeros((n, height, width), bool)
        hidden = np.zeros((n, height, width), bool)
        high, wide = self.frame_size
        for i, frame in enumerate(frames):
            top, left = row - self.offsets[frame, 0], column - self.offsets[frame, 1]
            r0, r1 = max(0, -top), min(height, high - top)
            c0, c1 = max(0, -left), min(width, wide - left)
            if r0 >= r1 or c0 >= c1:
                continue
            source = (frame, slice(top + r0, top + r1), slice(left + c0, left + c1))
            pixels[i, r0:r1, c0:c1] = self.pixels[source]
            hidden[i, r0:r1, c0:c1] = self.hidden[source]
            inside[i, r0:r1, c0:c1] = True
        known = inside & ~hidden
        return Cut(torch.from_numpy(pixels), torch.from_numpy(known), torch.from_numpy(hidden))


def offsets_of(shifts: np.ndarray) -> np.ndarray:
    """Places of frames on the canvas, int64 [n, 2], from the camera's shifts [n, 2] between frames.

    A shift says how far what was seen in the frame before has moved in the frame; the frame itself moves the
    other way.
    """
    places = -np.cumsum(shifts, axis=0)
    return np.round(places - places.min(0)).astype(np.int64)
