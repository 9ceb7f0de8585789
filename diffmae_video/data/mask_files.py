"""Reads masks that a user drew: one picture for all frames, or a film with a mask for each frame.

In every kind of file, a mask hides

- where it is opaque, if any of its pixels is transparent;
- else every colour but black, if it numbers objects: it uses only colours of the DAVIS palette, a
  palette of other colours, or a few dark grey levels;
- else where it is brighter than half (our choice).

If objects are chosen, it hides these alone, whatever else is in it.
"""

import io
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from diffmae_video.data.mask_colours import (
    HALF,
    Instance,
    hidden_by_colours,
    hidden_by_instances,
    hidden_by_picture,
)
from diffmae_video.decoding import VideoError, VideoReader, open_video
from diffmae_video.decoding.file_types import is_video_name
from diffmae_video.decoding.orientation import UPRIGHT
from diffmae_video.decoding.pictures import FOLDER_FPS, frame_files
from diffmae_video.decoding.pyav import PyAVReader
from diffmae_video.errors import InputError, require

MAX_CLOCK_ERROR = 6  # milliseconds; GIF stores durations in hundredths of a second
ANIMATION, ALPHA = 0x02, 0x10  # flags of WebP's VP8X chunk
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders ignore the alpha layer


def read_mask_picture(path: str | Path, instances: Sequence[Instance] = ()) -> np.ndarray:
    """Reads a mask picture: bool [H, W], True where it hides. ``instances`` chooses objects; empty for all.

    EXIF rotation is applied, as for input pictures. A fully opaque alpha channel is ignored.

    Raises:
        InputError: the file is missing or not a picture.
    """
    try:
        with _open(path) as stored:
            picture = ImageOps.exif_transpose(stored)
            if instances:
                return hidden_by_instances(picture, stored.format or "", instances)
            alpha = _alpha(picture)
            return hidden_by_picture(picture, stored.format or "") if alpha.min() == 255 else alpha > HALF
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
    # When each mask ends, in seconds from the first one's start: float64 [num_frames]. None for a folder.
    ends: np.ndarray | None = None

    @abstractmethod
    def hidden(self, first: int, end: int) -> np.ndarray:
        """What the masks ``first .. end - 1`` hide: bool [n, H, W]. Ascending requests are the fastest."""

    def close(self) -> None:  # noqa: B027 - only videos hold files open
        """Closes the files of the film."""


def open_mask_film(path: str | Path, num_frames: int, instances: Sequence[Instance] = ()) -> MaskFilm:
    """Opens a folder of mask pictures (in natural order), an animated picture or a video.

    Args:
        path: the folder or file.
        num_frames: of the film that the masks are for. Encoders of animated pictures merge equal frames;
            these are repeated if the durations then give this number. The caller checks the result.
        instances: the objects to hide; empty for all.

    Raises:
        InputError: it is missing, or holds no mask that can be read.
    """
    path = Path(path)
    if path.is_dir():
        pictures = frame_files(path)
        if not pictures:
            raise InputError(f"{path}: no picture in this folder; a folder of masks has one for each frame")
        return _MaskSequence(path, lambda: (read_mask_picture(p, instances) for p in pictures), None)
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
        ends = np.cumsum([d / 1000 or 1 / FOLDER_FPS for d in durations]) if max(repeats) == 1 else None
        return _MaskSequence(path, lambda: _animation(path, is_transparent, repeats, instances), ends)
    video = open_video(path, "pyav")  # decord fails on lossless H.264 of small frames
    orientation = video.orientation if isinstance(video, PyAVReader) else UPRIGHT
    if not instances and any(alpha.min() < 255 for alpha in _alpha_layer(path)):
        masks = lambda: (orientation.upright(alpha > HALF) for alpha in _alpha_layer(path))  # noqa: E731
        ends = _ends(video)
        video.close()
        return _MaskSequence(path, masks, ends)
    return _MaskVideo(video, instances)


class _MaskVideo(MaskFilm):
    """A video without transparency."""

    def __init__(self, video: VideoReader, instances: Sequence[Instance]) -> None:
        self.video, self.instances = video, instances
        self.num_frames, self.height, self.width = video.num_frames, video.height, video.width
        self.ends = _ends(video)

    def hidden(self, first: int, end: int) -> np.ndarray:
        frames = self.video.frames(range(first, end))
        if self.instances:
            return np.stack([hidden_by_instances(Image.fromarray(f), "", self.instances) for f in frames])
        return np.stack([hidden_by_colours(frame) for frame in frames])

    def close(self) -> None:
        self.video.close()


class _MaskSequence(MaskFilm):
    """Masks decoded one after the other; going back starts over.

    Args:
        path: for messages.
        masks: starts the sequence: bool [H, W] each.
        ends: see :class:`MaskFilm`; left out if the number of masks differs.

    Raises:
        InputError: there is no mask, or their sizes differ.
    """

    def __init__(
        self, path: Path, masks: Callable[[], Iterator[np.ndarray]], ends: np.ndarray | None
    ) -> None:
        self.masks = masks
        shapes = [mask.shape for mask in masks()]
        if not shapes:
            raise InputError(f"{path}: holds no mask")
        self.num_frames, (self.height, self.width) = len(shapes), shapes[0]
        self.ends = ends if ends is not None and len(ends) == len(shapes) else None
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


def _ends(video: VideoReader) -> np.ndarray:
    """When each frame of a video ends, in seconds: float64 [num_frames]."""
    return np.append(video.times[1:], video.duration)


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


def _animation(
    path: Path, is_transparent: bool, repeats: list[int], instances: Sequence[Instance]
) -> Iterator[np.ndarray]:
    with _open(path) as picture:
        file_format = picture.format or ""
        for frame, count in zip(_frames(picture), repeats, strict=True):
            if instances:
                mask = hidden_by_instances(frame, file_format, instances)
            elif is_transparent:
                mask = _alpha(frame) > HALF
            else:
                mask = hidden_by_picture(frame, file_format)
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
