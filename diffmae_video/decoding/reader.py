"""What every video reader offers: frames at ascending indices, as uint8 [n, H, W, 3]."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
from typing_extensions import Self

from diffmae_video.errors import InputError


class VideoError(InputError):
    """A video that cannot be read; the message names the file and the reason."""


class ColourTags(NamedTuple):
    """What a video stream says about its colours, in the code points of ITU-T H.273 (2: not specified)."""

    matrix: int = 2  # from RGB to luma and chroma; 1 is BT.709, 9 is BT.2020
    primaries: int = 2  # which red, green and blue primaries are used
    transfer: int = 2  # from light to signal; 16 is PQ and 18 is HLG
    range: int = 0  # 0: not specified, 1: limited (16 to 235), 2: full
    bits: int = 8  # of a sample


class VideoReader(ABC):
    """An open video."""

    path: str  # the file or folder
    num_frames: int  # frames that can be read
    fps: float  # mean frames per second
    times: np.ndarray  # seconds from the first frame to each frame: float64 [num_frames]
    duration: float  # seconds from the first frame to the end of the last one
    # height, width: of a frame as it is returned, upright and resized, in pixels
    height: int
    width: int
    aspect: Fraction = Fraction(1)  # of a pixel, its width over its height when it is shown
    colours: ColourTags = ColourTags()  # what the stream says about its colours
    icc: bytes | None = None  # a picture's colour profile
    is_plain: bool = False  # every reader finds the same frames in it, see PyAVReader
    notes: tuple[str, ...] = ()  # what a user should know about the file, a sentence each

    @abstractmethod
    def decode(self, indices: list[int]) -> np.ndarray:
        """Frames at valid indices: uint8 [n, H, W, 3]."""

    def check(self) -> None:
        """Decodes every frame.

        Raises:
            VideoError: a frame is missing or damaged, or the file is cut off.
        """
        for index in range(self.num_frames):
            self.frames([index])

    def content(self) -> bytes:
        """The file, not decoded."""
        return Path(self.path).read_bytes()

    @abstractmethod
    def close(self) -> None: ...

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """Frames at ascending indices (repeats allowed): uint8 [n, H, W, 3], RGB.

        Raises:
            VideoError: an index lies outside the video, or a frame cannot be decoded.
        """
        asked = [int(i) for i in indices]
        if asked != sorted(asked) or (asked and not 0 <= asked[0] <= asked[-1] < self.num_frames):
            raise VideoError(f"{self.path}: frames {asked} are not ascending indices below {self.num_frames}")
        if not asked:
            return np.empty((0, self.height, self.width, 3), np.uint8)
        return self.decode(asked)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FasterReader(VideoReader):
    """A less careful reader, which takes what is known of a file from the exact one."""

    held_frames: int  # how many frames it finds itself

    def __init__(self, exact: VideoReader) -> None:
        self.path, self.num_frames, self.fps = exact.path, exact.num_frames, exact.fps
        self.times, self.duration, self.notes = exact.times, exact.duration, exact.notes
        self.height, self.width, self.aspect = exact.height, exact.width, exact.aspect
        self.colours = exact.colours


def resized(height: int, width: int, short_side: int | None) -> tuple[int, int]:
    """(height, width) scaled to a short side of at most ``short_side``; None and 0 keep the size."""
    scale = min(1.0, short_side / min(height, width)) if short_side else 1.0
    return max(1, round(height * scale)), max(1, round(width * scale))


def reason(error: BaseException) -> str:
    """A library's error in one line."""
    text = getattr(error, "strerror", None) or str(error)  # FFmpeg's errors repeat the path
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
