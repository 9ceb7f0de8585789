"""A hole painted on one frame of a film, which stays in its place or follows the camera."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diffmae_video.decoding import VideoReader
from diffmae_video.errors import InputError
from diffmae_video.film.camera import CameraTracker
from diffmae_video.film.canvas import Canvas
from diffmae_video.film.holes import Hole

CHUNK = 32  # frames that are read together


class PaintedHole(Hole):
    """The same picture in every frame, shifted by whole pixels.

    Args:
        picture: bool [H, W].
        shifts: (rows, columns) of each frame, float [T, 2].

    Raises:
        InputError: nothing is painted.
    """

    def __init__(self, canvas: Canvas, picture: np.ndarray, shifts: np.ndarray) -> None:
        super().__init__(canvas)
        if not picture.any():
            raise InputError("nothing is painted; paint over what should go")
        self.picture, self.shifts = picture, shifts.round().astype(int)

    def pixels(self, first: int, last: int) -> np.ndarray:
        return np.stack([shifted(self.picture, *shift) for shift in self.shifts[first:last]])


def shifted(picture: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A picture, bool [H, W], moved down and to the right; False comes in from outside."""
    height, width = picture.shape
    moved = np.zeros_like(picture)
    if abs(rows) < height and abs(columns) < width:
        source = picture[max(0, -rows) : height - max(0, rows), max(0, -columns) : width - max(0, columns)]
        moved[max(0, rows) : height + min(0, rows), max(0, columns) : width + min(0, columns)] = source
    return moved


def follow_camera(video: VideoReader, picture: np.ndarray, number: int) -> np.ndarray:
    """How far what a frame shows lies from its place there, in every frame: float64 [T, 2] (rows, columns).

    The camera's motion is measured from the frame on which the hole was painted, forwards and backwards, on
    what lies outside the hole.

    Args:
        picture: what is painted, bool [H, W].
        number: of the frame on which it was painted.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    shifts = np.zeros((video.num_frames, 2))
    for step in (1, -1):
        tracker, place = CameraTracker(), np.zeros(2)
        for frame, pixels in _frames_from(video, number, step):
            place = place + tracker.add(pixels, shifted(picture, *place.round().astype(int)))
            shifts[frame] = place
    return shifts


def _frames_from(video: VideoReader, number: int, step: int) -> Iterator[tuple[int, np.ndarray]]:
    """Frames from one on, forwards or backwards, with their numbers."""
    starts = range(number, video.num_frames, CHUNK) if step > 0 else range(number + 1, 0, -CHUNK)
    for start in starts:
        first = start if step > 0 else max(0, start - CHUNK)
        end = min(start + CHUNK, video.num_frames) if step > 0 else start
        frames = video.frames(range(first, end))
        yield from list(zip(range(first, end), frames, strict=True))[::step]
