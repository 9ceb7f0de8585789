"""The hole in a film: a box, a mask picture, a mask video, or a mask drawn on the model's patches."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffmae_video.data.mask_colours import Instance
from diffmae_video.data.mask_files import is_mask_film, open_mask_film, read_mask_picture
from diffmae_video.decoding import VideoReader
from diffmae_video.errors import InputError, InputWarning
from diffmae_video.files import is_there
from diffmae_video.film.aligned_masks import AlignedMasks, resize_mask, resize_note
from diffmae_video.film.canvas import Canvas
from diffmae_video.film.hole_edges import grow
from diffmae_video.mask_kinds import MASKS
from diffmae_video.masks import Mask
from diffmae_video.randomness import random_state

CONSTANT = ("tube", "center")  # kinds that hide the same places at all times
MAX_EDGE = 500  # pixels of --dilate and --feather
REMEDY = "paint white what should be filled, and check --instances"


Box = tuple[tuple[int, int, int, int], tuple[float, float] | None]  # of pixels, and of seconds


class HoleEdits(NamedTuple):
    """What to change about a mask that a user gives."""

    instances: Sequence[Instance] = ()  # the objects to hide, by number or colour; empty for all
    invert: bool = False  # hide what the mask shows and show what it hides
    dilate: int = 0  # pixels by which the hole grows on all sides
    # Pixels, beyond those, in which the fill fades into the film. They are filled too, so that what the mask
    # hides never shines through.
    feather: int = 0


NO_EDITS = HoleEdits()


class Hole(ABC):
    """Which pixels of a film are hidden, asked for a few frames at a time.

    Attributes:
        is_aligned: whether the hole follows the model's patches in time and repeats its rules each clip.
        feather: pixels at the hole's edge in which the fill fades into the film; see
            :func:`~diffmae_video.film.hole_edges.paste`.
    """

    is_aligned = False
    feather = 0

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
    """Boxes of pixels, each always hidden or for a while.

    Args:
        boxes: of each, x, y, width and height in pixels, and when it is hidden, from and up to (exclusive) in
            seconds; None for always.
        times: the times of the film's frames, in seconds.

    Raises:
        InputError: a box is not inside the frame, or no frame lies within its time.
    """

    def __init__(self, canvas: Canvas, boxes: Sequence[Box], times: np.ndarray) -> None:
        super().__init__(canvas)
        high, wide = canvas.frame_size
        self.boxes: list[tuple[tuple[slice, slice], np.ndarray]] = []
        for (x, y, width, height), seconds in boxes:
            if width < 1 or height < 1 or x < 0 or y < 0 or x + width > wide or y + height > high:
                raise InputError(
                    f"--mask: the box {x},{y},{width},{height} (x,y,width,height) does not fit into the "
                    f"frame of {wide} x {high} pixels"
                )
            is_hidden = np.ones(len(times), bool)
            if seconds is not None:
                is_hidden = (times >= seconds[0] - 1e-6) & (times < seconds[1] - 1e-6)
                if not is_hidden.any():
                    raise InputError(
                        f"--mask: no frame lies between {seconds[0]:g} and {seconds[1]:g} s; the input has "
                        f"{len(times)} frames from 0 to {times[-1]:g} s"
                    )
            self.boxes.append(((slice(y, y + height), slice(x, x + width)), is_hidden))

    def pixels(self, first: int, last: int) -> np.ndarray:
        pixels = np.zeros((last - first, *self.canvas.frame_size), bool)
        for place, is_hidden in self.boxes:
            pixels[:, place[0], place[1]] |= is_hidden[first:last, None, None]
        return pixels


class PictureHole(Hole):
    """A mask picture that applies to every frame. One of another size is resized, which a warning says.

    Raises:
        InputError: the picture has another shape, or it hides nothing.
    """

    def __init__(self, canvas: Canvas, path: Path, instances: Sequence[Instance]) -> None:
        super().__init__(canvas)
        picture = read_mask_picture(path, instances)
        note = resize_note(picture.shape, canvas.frame_size, path)
        if note:
            warnings.warn(f"{path}: {note}", InputWarning, stacklevel=2)
        self.picture = resize_mask(picture, canvas.frame_size)
        if not self.picture.any():
            raise InputError(f"{path}: the mask hides nothing; {REMEDY}")

    def pixels(self, first: int, last: int) -> np.ndarray:
        return np.repeat(self.picture[None], last - first, axis=0)


class FilmHole(Hole):
    """A film of masks: a video, an animated picture or a folder of pictures.

    Raises:
        InputError: the masks have another shape than the film's frames.
    """

    def __init__(self, canvas: Canvas, path: Path, instances: Sequence[Instance], video: VideoReader) -> None:
        super().__init__(canvas)
        masks = open_mask_film(path, video.num_frames, instances)
        try:
            self.masks = AlignedMasks(path, masks, video)
        except InputError:
            masks.close()
            raise

    def pixels(self, first: int, last: int) -> np.ndarray:
        return self.masks.hidden(first, last)

    def close(self) -> None:
        self.masks.close()


class EditedHole(Hole):
    """Another hole, inverted and grown as a user asked.

    Frames in which nothing is hidden stay as they are, inverted or not.

    Args:
        hole: the other hole.
        edits: what to change.
    """

    def __init__(self, hole: Hole, edits: HoleEdits) -> None:
        super().__init__(hole.canvas)
        self.hole, self.edits, self.feather = hole, edits, edits.feather

    def pixels(self, first: int, last: int) -> np.ndarray:
        masks = self.hole.pixels(first, last)
        if self.edits.invert:
            masks = np.stack([~mask if mask.any() else mask for mask in masks])
        return np.stack([grow(mask, self.edits.dilate + self.edits.feather) for mask in masks])

    def close(self) -> None:
        self.hole.close()


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


def parse_boxes(text: str) -> list[Box] | None:
    """Parses boxes ``x,y,w,h[,t0,t1]`` in pixels and seconds, separated by spaces; None if there are none.

    Raises:
        InputError: the text has commas but not four or six fitting numbers, or t0 is not below t1.
    """
    if "," not in text or is_there(Path(text)):
        return None
    return [_parse_box(part) for part in text.split()]


def _parse_box(text: str) -> Box:
    form = "x,y,w,h or x,y,w,h,t0,t1 (whole pixels, and seconds)"
    try:
        values = [float(part) for part in text.split(",")]
        if len(values) not in (4, 6) or any(v != int(v) for v in values[:4]):
            raise ValueError
    except (ValueError, OverflowError):
        raise InputError(f"--mask {text}: a box is written {form}") from None
    if len(values) == 6 and not 0 <= values[4] < values[5]:
        raise InputError(f"--mask {text}: t0 must be 0 or more and below t1, in seconds")
    x, y, w, h = (int(v) for v in values[:4])
    return (x, y, w, h), ((values[4], values[5]) if len(values) == 6 else None)


def open_hole(
    text: str,
    ratio: float,
    model: Any,
    canvas: Canvas,
    video: VideoReader,
    seed: int,
    edits: HoleEdits = NO_EDITS,
) -> Hole:
    """Opens what a user gave as --mask: a kind of mask, boxes, a picture, a video or a folder of pictures.

    Args:
        text: the value of --mask.
        ratio: the share that a drawn mask hides.
        model: the model on whose patches a mask is drawn; None if it may not be drawn.
        canvas, video: the film's.
        seed: seeds drawn masks.
        edits: what to change about a mask that is not drawn.

    Raises:
        InputError: the mask does not fit the film, there is no such kind or file, or a drawn mask is edited.
    """
    for name, pixels in (("dilate", edits.dilate), ("feather", edits.feather)):
        if not 0 <= pixels <= MAX_EDGE:
            raise InputError(f"--{name} must be from 0 to {MAX_EDGE} pixels, got {pixels}")
    if text in MASKS and model is not None:
        if edits != NO_EDITS:
            raise InputError(
                f"--mask {text} is drawn on the model's patches; --dilate, --feather, --invert and "
                "--instances are for masks that you give"
            )
        return DrawnHole(canvas, text, ratio, model.grid[0], model.patch[0], video.num_frames, seed)
    hole = _open_given_hole(text, canvas, video, edits.instances)
    return hole if edits == NO_EDITS._replace(instances=edits.instances) else EditedHole(hole, edits)


def _open_given_hole(text: str, canvas: Canvas, video: VideoReader, instances: Sequence[Instance]) -> Hole:
    boxes = parse_boxes(text)
    if boxes is not None:
        if instances:
            raise InputError(f"--mask {text}: boxes have no colours; leave out --instances")
        return BoxHole(canvas, boxes, video.times)
    path = Path(text)
    if not is_there(path):
        raise InputError(
            f"--mask {text}: neither a file, a folder nor a kind of mask; kinds are {', '.join(MASKS)}, and "
            "a box is written x,y,w,h[,t0,t1]"
        )
    if is_mask_film(path):
        return FilmHole(canvas, path, instances, video)
    return PictureHole(canvas, path, instances)
