"""What every reader of videos offers: frames at ascending indices, as uint8 [n, H, W, 3]."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from types import TracebackType

import numpy as np
from typing_extensions import Self

from diffmae_video.errors import InputError


class VideoError(InputError):
    """A video that cannot be read; the message names the file and the reason."""


class VideoReader(ABC):
    """An open video.

    Attributes:
        path: the file.
        num_frames: frames that the file really holds.
        fps: mean frames per second.
        height, width: of a frame as it is returned, upright and resized, in pixels.
        aspect: of a pixel, its width over its height as it is to be shown.
        has_matrix: whether the file says how its colours are coded; if not, BT.601 is taken.
        icc: of a picture, the profile of its colours.
    """

    path: str
    num_frames: int
    fps: float
    height: int
    width: int
    aspect: Fraction = Fraction(1)
    has_matrix: bool = True
    icc: bytes | None = None

    @property
    @abstractmethod
    def times(self) -> np.ndarray:
        """Seconds from the first frame to each one: float64 [num_frames]."""

    @abstractmethod
    def decode(self, indices: list[int]) -> np.ndarray:
        """Frames at indices that were checked: uint8 [n, H, W, 3]."""

    @abstractmethod
    def close(self) -> None: ...

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """Frames at ascending indices (repeats allowed): uint8 [n, H, W, 3], RGB.

        Raises:
            VideoError: an index outside the video, or frames that cannot be decoded.
        """
        wanted = [int(i) for i in indices]
        if wanted != sorted(wanted) or (wanted and not 0 <= wanted[0] <= wanted[-1] < self.num_frames):
            raise VideoError(
                f"{self.path}: frames {wanted} are not ascending indices below {self.num_frames}"
            )
        if not wanted:
            return np.empty((0, self.height, self.width, 3), np.uint8)
        return self.decode(wanted)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def resized(height: int, width: int, short_side: int | None) -> tuple[int, int]:
    """(height, width) with a short side of at most ``short_side``; None and 0 leave them."""
    scale = min(1.0, short_side / min(height, width)) if short_side else 1.0
    return max(1, round(height * scale)), max(1, round(width * scale))


def reason(error: BaseException) -> str:
    """A library's error in one line."""
    text = getattr(error, "strerror", None) or str(error)  # FFmpeg's own repeat the path
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
