"""What is hidden of a film: a box, a picture, a film of masks, or a kind of mask drawn on the patches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffmae_video.data.mask_files import is_bright, is_mask_film, read_mask_picture
from diffmae_video.decoding import VideoReader, open_video
from diffmae_video.errors import InputError
from diffmae_video.inpainting.film.canvas import Canvas
from diffmae_video.masks import MASKS, Mask
from diffmae_video.randomness import random_state

STEADY = ("tube", "center")  # the same at all times


class Hole(ABC):
    """Which pixels of a film are hidden, a few frames at a time.

    Attributes:
        is_aligned: it changes with the model's patches in time, a clip's length at a time.
    """

    is_aligned = False

    def __init__(self, canvas: Canvas) -> None:
        self.canvas = canvas

    @abstractmethod
    def pixels(self, first: int, last: int) -> np.ndarray:
        """Of the frames first, ..., last - 1: bool [n, H, W]. Asked for in ascending order."""

    def patches(self, pixels: np.ndarray, first: int) -> Tensor:
        """The patches that are hidden where ``pixels`` of the frames from ``first`` on are: [n, h, w]."""
        return torch.stack([self.canvas.touched(frame) for frame in pixels])

    def close(self) -> None:  # noqa: B027 - only films need it
        """Frees what it holds open."""


class BoxHole(Hole):
    """A box of pixels, from one time to another.

    Args:
        box: x, y, width and height in pixels.
        seconds: from and up to, or None for always.
        times: of the film's frames, in seconds.

    Raises:
        InputError: the box is not within the frame, or there is no frame in its time.
    """

    def __init__(
        self,
        canvas: Canvas,
        box: tuple[int, int, int, int],
        seconds: tuple[float, float] | None,
        times: np.ndarray,
    ) -> None:
        super().__init__(canvas)
        x, y, width, height = box
        whole = canvas.film
        if width < 1 or height < 1 or x < 0 or y < 0 or x + width > whole[1] or y + height > whole[0]:
            raise InputError(
                f"--mask: the box {x},{y},{width},{height} (x,y,width,height) is not within the frame of "
                f"{whole[1]} x {whole[0]} pixels"
            )
        self.picture = np.zeros(whole, bool)
        self.picture[y : y + height, x : x + width] = True
        self.shown = np.ones(len(times), bool)
        if seconds is not None:
            self.shown = (times >= seconds[0] - 1e-6) & (times < seconds[1] - 1e-6)
            if not self.shown.any():
                raise InputError(
                    f"--mask: no frame lies from {seconds[0]:g} up to {seconds[1]:g} s; the input has "
                    f"{len(times)}, from 0 to {times[-1]:g} s"
                )

    def pixels(self, first: int, last: int) -> np.ndarray:
        return self.picture & self.shown[first:last, None, None]


class PictureHole(Hole):
    """A picture, for all frames alike.

    Raises:
        InputError: it has another size than the film, or hides nothing.
    """

    def __init__(self, canvas: Canvas, path: Path) -> None:
        super().__init__(canvas)
        self.picture = read_mask_picture(path)
        _check_size(path, self.picture.shape, canvas)
        if not self.picture.any():
            raise InputError(f"{path}: hides nothing; paint in white what is to be filled")

    def pixels(self, first: int, last: int) -> np.ndarray:
        return np.repeat(self.picture[None], last - first, axis=0)


class FilmHole(Hole):
    """A film of masks, a frame for each of the film's.

    Raises:
        InputError: it has another size than the film or fewer or more frames.
    """

    def __init__(self, canvas: Canvas, path: Path, num_frames: int) -> None:
        super().__init__(canvas)
        self.video = open_video(path, "pyav")  # decord cannot read lossless H.264 of small frames
        _check_size(path, (self.video.height, self.video.width), canvas)
        if self.video.num_frames != num_frames:
            self.close()
            raise InputError(
                f"{path}: the mask has {self.video.num_frames} frames and the input {num_frames}; give one "
                "for each, or a picture for all"
            )

    def pixels(self, first: int, last: int) -> np.ndarray:
        return is_bright(self.video.frames(range(first, last)))

    def close(self) -> None:
        self.video.close()


class DrawnHole(Hole):
    """A kind of mask on the model's patches, drawn anew for each stretch of a clip's length.

    A tube and the centre are the same throughout. What is left over at the film's end is a shorter stretch.
    Our choice.

    Args:
        kind, ratio: see :class:`~diffmae_video.masks.Mask`.
        steps, patch: time steps of a clip, and frames of one.
        num_frames: of the film.
        seed: of the masks.

    Raises:
        InputError: the ratio leaves nothing visible or nothing masked.
    """

    def __init__(
        self, canvas: Canvas, kind: str, ratio: float, steps: int, patch: int, num_frames: int, seed: int
    ) -> None:
        super().__init__(canvas)
        self.kind, self.ratio, self.seed = kind, ratio, seed
        self.is_aligned = kind not in STEADY
        self.steps, self.patch, self.total = steps, patch, -(-num_frames // patch)
        self.drawn = (-1, torch.zeros(0))
        self._draw(0)  # what cannot be drawn is told now

    def _draw(self, number: int) -> Tensor:
        """The mask of a stretch: bool [t, rows, columns]."""
        if self.drawn[0] != number:
            steps = min(self.steps, self.total - number * self.steps)
            if self.kind == "frame" and number and steps == 1:  # it would hide the only one
                mask = torch.zeros(1, *self.canvas.grid, dtype=torch.bool)
            else:
                chance = random_state(self.seed, 0 if self.kind in STEADY else number)
                mask = Mask.draw(self.kind, 1, (steps, *self.canvas.grid), self.ratio, chance).to_bool()[0]
            self.drawn = (number, mask)
        return self.drawn[1]

    def _steps(self, first: int, last: int) -> Tensor:
        """Of the frames first, ..., last - 1: bool [n, rows, columns]."""
        steps = [frame // self.patch for frame in range(first, last)]
        return torch.stack([self._draw(step // self.steps)[step % self.steps] for step in steps])

    def pixels(self, first: int, last: int) -> np.ndarray:
        return np.stack([self.canvas.area(patches) for patches in self._steps(first, last)])

    def patches(self, pixels: np.ndarray, first: int) -> Tensor:
        return self._steps(first, first + len(pixels))


def parse_box(text: str) -> tuple[tuple[int, int, int, int], tuple[float, float] | None] | None:
    """``x,y,w,h[,t0,t1]`` in pixels and seconds, or None if the text is none.

    Raises:
        InputError: there are neither four nor six numbers, or the times do not rise.
    """
    parts = text.split(",")
    if len(parts) < 2 or Path(text).exists():
        return None
    form = "x,y,w,h or x,y,w,h,t0,t1 (whole pixels, and seconds)"
    try:
        values = [float(part) for part in parts]
        if len(values) not in (4, 6) or any(v != int(v) for v in values[:4]):
            raise ValueError
    except (ValueError, OverflowError):
        raise InputError(f"--mask {text}: a box is {form}") from None
    if len(values) == 6 and not 0 <= values[4] < values[5]:
        raise InputError(f"--mask {text}: t0 must be 0 or more and below t1, in seconds")
    x, y, w, h = (int(v) for v in values[:4])
    return (x, y, w, h), ((values[4], values[5]) if len(values) == 6 else None)


def open_hole(text: str, ratio: float, model: Any, canvas: Canvas, video: VideoReader, seed: int) -> Hole:
    """The hole that a user asked for: a kind of mask, a box, a picture or a film.

    Raises:
        InputError: it does not fit the input, or there is no such kind or file.
    """
    steps, patch = model.encoder.grid[0], model.patch[0]
    if text in MASKS:
        return DrawnHole(canvas, text, ratio, steps, patch, video.num_frames, seed)
    box = parse_box(text)
    if box is not None:
        return BoxHole(canvas, *box, video.times)
    path = Path(text)
    if not path.is_file():
        raise InputError(
            f"--mask {text}: there is no such file, nor such a kind; kinds are {', '.join(MASKS)}, and a "
            "box is x,y,w,h[,t0,t1]"
        )
    if is_mask_film(path):
        return FilmHole(canvas, path, video.num_frames)
    return PictureHole(canvas, path)


def _check_size(path: Path, size: tuple[int, ...], canvas: Canvas) -> None:
    if tuple(size) != canvas.film:
        raise InputError(
            f"{path}: the mask has {size[1]} x {size[0]} pixels and the input {canvas.film[1]} x "
            f"{canvas.film[0]}; resize it"
        )
