"""How a container's display matrix turns or mirrors the stored frames of a video before they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Orientation(NamedTuple):
    """One of the eight ways to turn and mirror a picture. The transpose comes first, then the mirrors."""

    transposed: bool = False  # rows and columns change places
    mirrored: bool = False  # left and right change places
    flipped: bool = False  # top and bottom change places

    @classmethod
    def from_matrix(cls, matrix: Sequence[int]) -> Orientation:
        """The orientation of a display matrix: nine integers (a, b, u, c, d, v, x, y, w).

        It takes a stored point (p, q) to (a p + c q + x, b p + d q + y). Angles between the quarter
        turns are rounded to the nearest one.

        Source: ISO 14496-12, 8.2.2.3, and FFmpeg's libavutil/display.h.
        """
        a, b, _, c, d = (int(value) for value in matrix[:5])
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(True, c < 0, b < 0)
        return cls(False, a < 0, d < 0)

    def upright(self, picture: np.ndarray) -> np.ndarray:
        """Brings a stored picture [H, W, ...] upright."""
        if self.transposed:
            picture = picture.swapaxes(0, 1)
        rows = slice(None, None, -1 if self.flipped else 1)
        columns = slice(None, None, -1 if self.mirrored else 1)
        return picture[rows, columns]


UPRIGHT = Orientation()
