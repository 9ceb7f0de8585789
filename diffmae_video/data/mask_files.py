"""Reads masks that a user drew: one picture for all frames, or a film with a mask for each frame.

In every kind of file, a mask hides

- where it is opaque, if any of its pixels is transparent;
- else every colour but black, if it numbers objects: it uses only colours of the DAVIS palette, a
  palette of other colours, or a few dark grey levels;
- else where it is brighter than half (our choice).
"""

from __future__ import annotations

import io
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from diffmae_video.decoding import VideoError, VideoReader, open_video
from diffmae_video.decoding.file_types import is_video_name
from diffmae_video.decoding.orientation import UPRIGHT
from diffmae_video.decoding.pictures import frame_files
from diffmae_video.decoding.pyav import PyAVReader
from diffmae_video.errors import InputError, require

HALF = 127  # of 255
MAX_CLOCK_ERROR = 6  # milliseconds; GIF stores durations in hundredths of a second
MAX_LEVELS = 32  # grey levels of a mask that numbers objects
# The palette of PASCAL VOC and DAVIS spreads the bits of an object's number over the highest bits of the
# three channels, so that these bits are never set. White is not in it.
UNUSED_BITS = np.array([0x1F, 0x1F, 0x3F], np.uint8)
PALETTES_OF_COLOURS = ("GIF", "WEBP")  # here a palette compresses colours and does not number objects
LOSSY = ("JPEG", "MPO", "WEBP", "AVIF")
ANIMATION, ALPHA = 0x02, 0x10  # flags of WebP's VP8X chunk
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders ignore the alpha layer


def read_mask_picture(path: str | Path) -> np.ndarray:
    """Reads a mask picture: bool [H, W], True where it hides.

    EXIF rotation is applied, as for input pictures. A fully opaque alpha channel is ignored.

    Raises:
        InputError: the file is missing or not a picture.
    """
    try:
        with _open(path) as stored:
            picture = ImageOps.exif_transpose(stored)
            alpha = _alpha(picture)
            return _hidden_by_picture(picture, stored.format or "") if alpha.min() == 255 else alpha > HALF
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: cannot be read as a mask picture ({error})") from error


def is_mask_film(path: str | Path) -> bool:
    """Whether a mask has a picture for each frame: a folder, a video or an animated picture."""
    if Path(path).is_dir():
        return True
    try:
        with Image.open(path) as picture:
            return getattr(picture, "n_frames", 1) > 1
    except (UnidentifiedImageError, OSError):
        return is_video_name(path)


class MaskFilm(ABC):
    """A film of masks."""

    num_frames: int  # number of masks
    # height, width: in pixels
    height: int
    width: int

    @abstractmethod
    def hidden(self, first: int, end: int) -> np.ndarray:
        """What the masks ``first .. end - 1`` hide: bool [n, H, W]. Ascending requests are the fastest."""

    def close(self) -> None:  # noqa: B027 - only videos hold files open
        """Closes the files of the film."""


def open_mask_film(path: str | Path, num_frames: int) -> MaskFilm:
    """Opens a folder of mask pictures (in natural order), an animated picture or a video.

    Args:
        path: the folder or file.
        num_frames: of the film that the masks are for. Encoders of animated pictures merge equal frames;
            these are repeated if the durations then give this number. The caller checks the result.

    Raises:
        InputError: it is missing, or holds no mask that can be read.
    """
    path = Path(path)
    if path.is_dir():
        pictures = frame_files(path)
        if not pictures:
            raise InputError(f"{path}: no picture in this folder; a folder of masks has one for each frame")
        return _MaskSequence(path, lambda: map(read_mask_picture, pictures))
    try:
        with _open(path) as picture:
            opacities, durations = [], []
            for frame in _frames(picture):
                opacities.append(int(_alpha(frame).min()))
                durations.append(float(frame.info.get("duration", 0)))
            is_picture, is_transparent = True, min(opacities) < 255
    except (UnidentifiedImageError, OSError):
        is_picture = False
    if is_picture:
        repeats = _repeats(durations, num_frames)
        return _MaskSequence(path, lambda: _animation(path, is_transparent, repeats))
    video = open_video(path, "pyav")  # decord fails on lossless H.264 of small frames
    orientation = video.orientation if isinstance(video, PyAVReader) else UPRIGHT
    if any(alpha.min() < 255 for alpha in _alpha_layer(path)):
        video.close()
        masks = lambda: (orientation.upright(alpha > HALF) for alpha in _alpha_layer(path))  # noqa: E731
        return _MaskSequence(path, masks)
    return _MaskVideo(video)


class _MaskVideo(MaskFilm):
    """A video without transparency."""

    def __init__(self, video: VideoReader) -> None:
        self.video = video
        self.num_frames, self.height, self.width = video.num_frames, video.height, video.width

    def hidden(self, first: int, end: int) -> np.ndarray:
        return np.stack([_hidden_by_colours(frame) for frame in self.video.frames(range(first, end))])

    def close(self) -> None:
        self.video.close()


class _MaskSequence(MaskFilm):
    """Masks decoded one after the other; going back starts over.

    Args:
        path: for messages.
        masks: starts the sequence: bool [H, W] each.

    Raises:
        InputError: there is no mask, or their sizes differ.
    """

    def __init__(self, path: Path, masks: Callable[[], Iterator[np.ndarray]]) -> None:
        self.masks = masks
        shapes = [mask.shape for mask in masks()]
        if not shapes:
            raise InputError(f"{path}: holds no mask")
        self.num_frames, (self.height, self.width) = len(shapes), shapes[0]
        for number, shape in enumerate(shapes):
            if shape != shapes[0]:
                raise InputError(
                    f"{path}: mask {number} has {shape[1]} x {shape[0]} pixels and the first one "
                    f"{self.width} x {self.height}; give them one size"
                )
        self._restart()

    def _restart(self) -> None:
        self.sequence, self.position = self.masks(), 0

    def hidden(self, first: int, end: int) -> np.ndarray:
        if first < self.position:
            self._restart()
        while self.position < first:
            next(self.sequence)
            self.position += 1
        self.position = end
        return np.stack([next(self.sequence) for _ in range(first, end)])


def _open(path: str | Path) -> Image.Image:
    """Opens a picture; of an animated WebP, with the transparency of what its frames leave uncovered.

    Encoders crop frames to what is opaque, and then declare that none has an alpha channel. Pillow takes
    their word for it, unless the flag in the header says otherwise.
    """
    data = Path(path).read_bytes()
    if data[8:16] == b"WEBPVP8X" and data[20] & ANIMATION:
        data = data[:20] + bytes([data[20] | ALPHA]) + data[21:]
    return Image.open(io.BytesIO(data))


def _frames(picture: Image.Image) -> Iterator[Image.Image]:
    return iter(ImageSequence.Iterator(picture))


def _repeats(durations: list[float], num_frames: int) -> list[int]:
    """How often to repeat each frame so that ``num_frames`` of them last equally long; once if none fits."""
    once = [1] * len(durations)
    if not all(durations) or len(durations) >= num_frames:
        return once
    frame = sum(durations) / num_frames
    ends = np.cumsum(durations) / frame
    repeats = np.diff(ends.round(), prepend=0).astype(int)
    fits = np.abs(ends - ends.round()).max() * frame <= MAX_CLOCK_ERROR and repeats.min() >= 1
    return repeats.tolist() if fits else once


def _animation(path: Path, is_transparent: bool, repeats: list[int]) -> Iterator[np.ndarray]:
    with _open(path) as picture:
        for frame, count in zip(_frames(picture), repeats, strict=True):
            mask = _alpha(frame) > HALF if is_transparent else _hidden_by_picture(frame, picture.format or "")
            yield from itertools.repeat(mask, count)


def _alpha(picture: Image.Image) -> np.ndarray:
    """The opacity of a picture: uint8 [H, W]."""
    if picture.mode.startswith("I"):  # 16 bits; Pillow would clip them to 8, and there is no alpha
        return np.full((picture.height, picture.width), 255, np.uint8)
    return np.asarray(picture.convert("RGBA").getchannel("A"))


def _alpha_layer(path: Path) -> Iterator[np.ndarray]:
    """The opacity of each frame of a video as stored: uint8 [H, W]; nothing if it has no alpha channel."""
    av = require("av", "video")
    try:
        with av.open(str(path.absolute())) as container:
            stream = container.streams.best("video")
            decoder = stream.codec_context
            if stream.metadata.get("alpha_mode") == "1" and decoder.name in ALPHA_DECODERS:
                extradata = decoder.extradata
                decoder = av.codec.CodecContext.create(ALPHA_DECODERS[decoder.name], "r")
                decoder.extradata = extradata
            elif not (decoder.format and any(part.is_alpha for part in decoder.format.components)):
                return
            for packet in container.demux(stream):
                for frame in decoder.decode(packet if packet.size else None):
                    yield frame.to_ndarray(format="rgba")[..., 3]
    except av.FFmpegError as error:
        raise VideoError(f"{path}: its transparency cannot be decoded ({error})") from error


def _hidden_by_picture(picture: Image.Image, file_format: str) -> np.ndarray:
    """What a picture without transparency hides: bool [H, W]."""
    if picture.mode.startswith("I"):
        return _hidden_by_levels(np.asarray(picture), 256 * (HALF + 1) - 1)
    if picture.mode == "L" and file_format not in LOSSY:
        return _hidden_by_levels(np.asarray(picture), HALF)
    colours = np.asarray(picture.convert("RGB"))
    if picture.mode == "P" and file_format not in PALETTES_OF_COLOURS:
        if (colours == colours[..., :1]).all():
            return _hidden_by_levels(colours[..., 0], HALF)
        return np.any(colours, axis=-1)
    return _hidden_by_colours(colours)


def _hidden_by_levels(grey: np.ndarray, half: int) -> np.ndarray:
    """What a grey picture hides: bool [H, W]. A few dark levels on black are numbers of objects."""
    levels = np.unique(grey)
    is_numbered = levels[0] == 0 and levels[-1] <= half and len(levels) <= MAX_LEVELS
    return np.greater(grey, 0 if is_numbered else half)


def _hidden_by_colours(colours: np.ndarray) -> np.ndarray:
    """What a picture of colours hides: uint8 [H, W, 3] -> bool [H, W]."""
    is_davis = not (colours & UNUSED_BITS).any()
    return np.greater(colours.max(axis=-1), 0 if is_davis else HALF)
