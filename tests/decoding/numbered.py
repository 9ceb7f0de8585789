"""Frames that carry their number in the top row: ten cells of 16 pixels, white for 1, lowest bit first."""

from pathlib import Path

import numpy as np

CASES = Path(__file__).parent / "cases"


def number(frame: np.ndarray) -> int:
    """The number on a frame [H, W, 3]."""
    return sum(1 << bit for bit in range(10) if frame[4:12, bit * 16 + 4 : bit * 16 + 12].mean() > 127)


def numbers(video) -> list[int]:
    """The numbers on all frames of an open video."""
    return [number(frame) for frame in video.frames(range(video.num_frames))]


def numbered(value: int, height: int = 96, width: int = 176) -> np.ndarray:
    """A frame with a number, grey elsewhere."""
    frame = np.full((height, width, 3), 128, np.uint8)
    for bit in range(10):
        frame[:16, bit * 16 : bit * 16 + 16] = 255 * (value >> bit & 1)
    return frame
