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
        filled: uint8 [n, h, w, 3], with the base fill in the hole; 0 outside of the frame.
        known: bool [n, h, w]: inside the frame and not hidden.
        hidden: bool [n, h, w]: inside the frame and hidden.
        pretended: bool [n, h, w]: inside the frame and hidden by a rehearsal.
    """

    pixels: Tensor
    filled: Tensor
    known: Tensor
    hidden: Tensor
    pretended: Tensor


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
        filled: uint8 [n, H, W, 3], with the base fill in what is hidden or pretended to be; None before it
            is known.
        pretended: bool [n, H, W], known pixels that a rehearsal hides; None hides nothing more.
    """

    first: int
    pixels: np.ndarray
    hidden: np.ndarray
    offsets: np.ndarray
    filled: np.ndarray | None = None
    pretended: np.ndarray | None = None

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

    def part(self, start: int, stop: int) -> Scene:
        """The scene's frames from ``start`` up to ``stop``."""
        offsets = self.offsets[start:stop]
        filled, pretended = (
            None if values is None else values[start:stop] for values in (self.filled, self.pretended)
        )
        return Scene(
            self.first + start,
            self.pixels[start:stop],
            self.hidden[start:stop],
            offsets - offsets.min(0),
            filled,
            pretended,
        )

    def cut(self, frames: np.ndarray, row: int, column: int, height: int, width: int) -> Cut:
        """The part of the canvas at (row, column) in the given frames of the scene."""
        n = len(frames)
        pixels, filled = np.zeros((2, n, height, width, 3), np.uint8)
        inside, hidden, pretended = np.zeros((3, n, height, width), bool)
        high, wide = self.frame_size
        for i, frame in enumerate(frames):
            top, left = row - self.offsets[frame, 0], column - self.offsets[frame, 1]
            r0, r1 = max(0, -top), min(height, high - top)
            c0, c1 = max(0, -left), min(width, wide - left)
            if r0 >= r1 or c0 >= c1:
                continue
            source = (frame, slice(top + r0, top + r1), slice(left + c0, left + c1))
            place = (i, slice(r0, r1), slice(c0, c1))
            pixels[place] = self.pixels[source]
            hidden[place] = self.hidden[source]
            inside[place] = True
            if self.filled is not None:
                filled[place] = self.filled[source]
            if self.pretended is not None:
                pretended[place] = self.pretended[source]
        return Cut(*map(torch.from_numpy, (pixels, filled, inside & ~hidden, hidden, pretended)))


def offsets_of(shifts: np.ndarray) -> np.ndarray:
    """Places of frames on the canvas, int64 [n, 2], from the camera's shifts [n, 2] between frames.

    A shift says how far what was seen in the frame before has moved in the frame; the frame itself moves the
    other way.
    """
    places = -np.cumsum(shifts, axis=0)
    return np.round(places - places.min(0)).astype(np.int64)
