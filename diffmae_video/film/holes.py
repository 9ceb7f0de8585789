"""The hole in a film: a box, a mask picture, a mask video, or a mask drawn on the model's patches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffmae_video.data.mask_files import is_mask_film, open_mask_film, read_mask_picture
from diffmae_video.decoding import VideoReader
from diffmae_video.errors import InputError
from diffmae_video.film.canvas import Canvas
from diffmae_video.masks import MASKS, Mask
from diffmae_video.randomness import random_state

CONSTANT = ("tube", "center")  # kinds that hide the same places at all times


class Hole(ABC):
    """Which pixels of a film are hidden, asked for a few frames at a time.

    Attributes:
        is_aligned: whether the hole follows the model's patches in time and repeats its rules each clip.
    """

    is_aligned = False

    def __init__(self, canvas: Canvas) -> None:
        self.canvas = canvas

    @abstractmethod
    def pixels(self, first: int, last: int) -> np.ndarray:
        """The hidden pixels of frames first, ..., last - 1: bool [n, H, W]. Called in ascending order."""

    def patches(self, pixels: np.ndarray, first: int) -> Tensor:
        """The hidden patches of the frames from ``first`` on, given their pixels: bool [n, rows, columns]."""
        return torch.stack([self.canvas.touched_patches(frame) for frame in pixels])

    def close(self) -> None:  # noqa: B027 - only mask videos hold a file open
        """Closes the file, if there is one."""


class BoxHole(Hole):
    """A box of pixels, always hidden or for a while.

    Args:
        box: x, y, width and height in pixels.
        seconds: when the box is hidden, from and up to (exclusive); None for always.
        times: the times of the film's frames, in seconds.

    Raises:
        InputError: the box is not inside the frame, or no frame lies within its time.
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
        high, wide = canvas.frame_size
        if width < 1 or height < 1 or x < 0 or y < 0 or x + width > wide or y + height > high:
            raise InputError(
                f"--mask: the box {x},{y},{width},{height} (x,y,width,height) does not fit into the frame of "
                f"{wide} x {high} pixels"
            )
        self.picture = np.zeros((high, wide), bool)
        self.picture[y : y + height, x : x + width] = True
        self.is_hidden = np.ones(len(times), bool)
        if seconds is not None:
            self.is_hidden = (times >= seconds[0] - 1e-6) & (times < seconds[1] - 1e-6)
            if not self.is_hidden.any():
                raise InputError(
                    f"--mask: no frame lies between {seconds[0]:g} and {seconds[1]:g} s; the input has "
                    f"{len(times)} frames from 0 to {times[-1]:g} s"
                )

    def pixels(self, first: int, last: int) -> np.ndarray:
        return self.picture & self.is_hidden[first:last, None, None]


class PictureHole(Hole):
    """A mask picture that applies to every frame.

    Raises:
        InputError: the picture's size is not the film's, or it hides nothing.
    """

    def __init__(self, canvas: Canvas, path: Path) -> None:
        super().__init__(canvas)
        self.picture = read_mask_picture(path)
        _check_size(path, self.picture.shape, canvas)
        if not self.picture.any():
            raise InputError(f"{path}: the mask hides nothing; paint white what should be filled")

    def pixels(self, first: int, last: int) -> np.ndarray:
        return np.repeat(self.picture[None], last - first, axis=0)


class FilmHole(Hole):
    """A film of masks, one for each frame of the film: a video, an animated picture or a folder of pictures.

    Raises:
        InputError: the size or the number of frames is not the film's.
    """

    def __init__(self, canvas: Canvas, path: Path, num_frames: int) -> None:
        super().__init__(canvas)
        self.masks = open_mask_film(path, num_frames)
        _check_size(path, (self.masks.height, self.masks.width), canvas)
        if self.masks.num_frames != num_frames:
            self.close()
            raise InputError(
                f"{path}: the mask has {self.masks.num_frames} frames and the input {num_frames}; give one "
                "mask frame for each input frame, or a single picture for all"
            )

    def pixels(self, first: int, last: int) -> np.ndarray:
        return self.masks.hidden(first, last)

    def close(self) -> None:
        self.masks.close()


class DrawnHole(Hole):
    """A mask drawn on the model's patches, anew for each period of one clip's length.

    A tube and the centre stay the same throughout. The film's last period may be shorter. Our choice.

    Args:
        kind, ratio: see :class:`~diffmae_video.masks.Mask`.
        steps, patch: time steps of a clip, and frames of a time step.
        num_frames: frames of the film.
        seed: seeds the masks.

    Raises:
        InputError: the ratio leaves nothing visible or nothing masked.
    """

    def __init__(
        self, canvas: Canvas, kind: str, ratio: float, steps: int, patch: int, num_frames: int, seed: int
    ) -> None:
        super().__init__(canvas)
        self.kind, self.ratio, self.seed = kind, ratio, seed
        self.is_aligned = kind not in CONSTANT
        self.steps, self.patch, self.total = steps, patch, -(-num_frames // patch)
        self.drawn = (-1, torch.zeros(0))  # the current period and its mask
        self._mask_of_period(0)  # fails now if the mask is impossible

    def _mask_of_period(self, period: int) -> Tensor:
        """bool [t, rows, columns]."""
        if self.drawn[0] != period:
            steps = min(self.steps, self.total - period * self.steps)
            if self.kind == "frame" and period and steps == 1:  # would hide the period's only time step
                mask = torch.zeros(1, *self.canvas.grid, dtype=torch.bool)
            else:
                generator = random_state(self.seed, 0 if self.kind in CONSTANT else period)
                grid = (steps, *self.canvas.grid)
                mask = Mask.draw(self.kind, 1, grid, self.ratio, generator).to_bool()[0]
            self.drawn = (period, mask)
        return self.drawn[1]

    def _patches_of(self, first: int, last: int) -> Tensor:
        """The hidden patches of frames first, ..., last - 1: bool [n, rows, columns]."""
        steps = [frame // self.patch for frame in range(first, last)]
        return torch.stack([self._mask_of_period(step // self.steps)[step % self.steps] for step in steps])

    def pixels(self, first: int, last: int) -> np.ndarray:
        return np.stack([self.canvas.covered_pixels(patches) for patches in self._patches_of(first, last)])

    def patches(self, pixels: np.ndarray, first: int) -> Tensor:
        return self._patches_of(first, first + len(pixels))


def parse_box(text: str) -> tuple[tuple[int, int, int, int], tuple[float, float] | None] | None:
    """Parses ``x,y,w,h[,t0,t1]`` in pixels and seconds; None if the text is not a box.

    Raises:
        InputError: the text has commas but not four or six fitting numbers, or t0 is not below t1.
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
        raise InputError(f"--mask {text}: a box is written {form}") from None
    if len(values) == 6 and not 0 <= values[4] < values[5]:
        raise InputError(f"--mask {text}: t0 must be 0 or more and below t1, in seconds")
    x, y, w, h = (int(v) for v in values[:4])
    return (x, y, w, h), ((values[4], values[5]) if len(values) == 6 else None)


def open_hole(text: str, ratio: float, model: Any, canvas: Canvas, video: VideoReader, seed: int) -> Hole:
    """Opens what a user gave as --mask: a kind of mask, a box, a picture, a video or a folder of pictures.

    Args:
        text: the value of --mask.
        ratio: the share that a drawn mask hides.
        model: the model that will fill the hole.
        canvas, video: the film's.
        seed: seeds drawn masks.

    Raises:
        InputError: the mask does not fit the film, or there is no such kind or file.
    """
    steps, patch = model.grid[0], model.patch[0]
    if text in MASKS:
        return DrawnHole(canvas, text, ratio, steps, patch, video.num_frames, seed)
    box = parse_box(text)
    if box is not None:
        return BoxHole(canvas, *box, video.times)
    path = Path(text)
    if not path.exists():
        raise InputError(
            f"--mask {text}: neither a file, a folder nor a kind of mask; kinds are {', '.join(MASKS)}, and "
            "a box is written x,y,w,h[,t0,t1]"
        )
    if is_mask_film(path):
        return FilmHole(canvas, path, video.num_frames)
    return PictureHole(canvas, path)


def _check_size(path: Path, size: tuple[int, ...], canvas: Canvas) -> None:
    height, width = canvas.frame_size
    if tuple(size) != (height, width):
        raise InputError(
            f"{path}: the mask has {size[1]} x {size[0]} pixels and the input {width} x {height}; resize it"
        )
