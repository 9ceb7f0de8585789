"""The readers by name, and which one a file gets."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from diffmae_video.decoding.base import VideoError, VideoReader, reason, resized
from diffmae_video.decoding.endings import is_image_name
from diffmae_video.decoding.pyav import PyAVReader
from diffmae_video.errors import InputError, MissingExtraError, require

# decord's sparse reads are exact for these where GOPs are closed; of HEVC they return other frames.
DECORD_CODECS = ("h264", "vp8", "vp9")
DECORD_CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")


class DecordReader(VideoReader):
    """decord, with one decoding thread: open it in the process that reads, and close it after use."""

    def __init__(self, path: str, short_side: int | None, exact: PyAVReader) -> None:
        decord = require("decord", "video")
        self.path, self._times = path, exact.times
        self.num_frames, self.fps = exact.num_frames, exact.fps
        self.height, self.width = exact.height, exact.width
        self.errors = (decord.DECORDError, RuntimeError, IndexError)
        size = {"width": self.width, "height": self.height} if short_side else {}
        try:
            self.reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1, **size)
        except self.errors as error:
            raise VideoError(f"{path}: decord cannot read it ({reason(error)})") from error

    @property
    def times(self) -> np.ndarray:
        return self._times

    def decode(self, indices: list[int]) -> np.ndarray:
        try:
            decoded: np.ndarray = self.reader.get_batch(indices).asnumpy()
        except self.errors as error:
            raise VideoError(f"{self.path}: decord cannot decode it ({reason(error)})") from error
        return decoded

    def close(self) -> None:
        del self.reader


def _decord(path: str, short_side: int | None) -> VideoReader:
    """decord where it is known to be exact, else PyAV.

    decord picks another one of several streams, and its sparse reads return other frames of HEVC, of
    MPEG-4 with B-frames, of open GOPs and of files without an index.
    """
    # decord loads its libraries for all to see: PyAV's VP9 encoder would take decord's older libvpx and fail.
    with contextlib.suppress(MissingExtraError):
        require("av.codec", "video")
    require("decord", "video")
    exact = PyAVReader(path, short_side)
    codec = exact.stream.codec_context.name
    is_single = len(exact.container.streams.video) == 1
    is_known = exact.container.format.name in DECORD_CONTAINERS and codec in DECORD_CODECS
    if not (is_known and is_single and exact.has_closed_gops) or exact.turns:
        return exact
    try:
        video = DecordReader(path, short_side, exact)
    except VideoError:
        exact.close()
        raise
    if len(video.reader) != exact.num_frames:
        video.close()
        return exact
    exact.close()
    return video


class TorchCodecReader(VideoReader):
    """torchcodec, exact by its own scan of the file; it needs torch and a system FFmpeg (4 to 8)."""

    def __init__(self, path: str, short_side: int | None) -> None:
        try:
            decoders = require("torchcodec.decoders", "torchcodec")
        except (OSError, RuntimeError) as error:  # it is installed, and its FFmpeg is not
            raise InputError(
                f"torchcodec does not load ({reason(error)}); it needs a system FFmpeg, versions 4 to 8 "
                "(Debian: apt install ffmpeg)"
            ) from error
        self.path = path
        try:
            self.decoder = decoders.VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1)
            meta = self.decoder.metadata
            self.num_frames, self.fps = int(meta.num_frames), float(meta.average_fps or 1)
            if not self.num_frames:
                raise VideoError(f"{path}: holds no frame")
            height, width = self.decoder[0].shape[:2]
            self.height, self.width = resized(height, width, short_side)
            if short_side:
                transforms = require("torchcodec.transforms", "torchcodec")
                self.decoder = decoders.VideoDecoder(
                    path,
                    dimension_order="NHWC",
                    num_ffmpeg_threads=1,
                    transforms=[transforms.Resize(size=(self.height, self.width))],
                )
        except (RuntimeError, ValueError, IndexError) as error:
            if isinstance(error, InputError):
                raise
            raise VideoError(f"{path}: torchcodec cannot read it ({reason(error)})") from error

    @property
    def times(self) -> np.ndarray:
        with PyAVReader(self.path) as exact:  # torchcodec would decode every frame for them
            return exact.times

    def decode(self, indices: list[int]) -> np.ndarray:
        try:
            decoded: np.ndarray = self.decoder.get_frames_at(indices).data.numpy()
        except (RuntimeError, IndexError) as error:
            raise VideoError(f"{self.path}: torchcodec cannot decode it ({reason(error)})") from error
        return decoded

    def close(self) -> None:
        del self.decoder


class ImageReader(VideoReader):
    """A picture: a video of one frame, upright by its EXIF tag."""

    num_frames, fps = 1, 1.0

    def __init__(self, path: str, short_side: int | None) -> None:
        from PIL import Image, ImageOps, UnidentifiedImageError

        self.path = path
        try:
            with Image.open(path) as stored:
                whole: Image.Image = stored
                if stored.mode.startswith("I"):  # 16 bits, which Pillow would clip to 8
                    whole = Image.fromarray((np.asarray(stored) >> 8).clip(0, 255).astype(np.uint8))
                picture = ImageOps.exif_transpose(whole).convert("RGB")
                self.icc = stored.info.get("icc_profile") if stored.mode in ("RGB", "RGBA", "P") else None
        except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
            raise VideoError(f"{path}: no picture that can be read ({reason(error)})") from error
        self.height, self.width = resized(picture.height, picture.width, short_side)
        if picture.size != (self.width, self.height):
            picture = picture.resize((self.width, self.height), Image.Resampling.BICUBIC)
        self.picture = np.asarray(picture)

    @property
    def times(self) -> np.ndarray:
        return np.zeros(1)

    def decode(self, indices: list[int]) -> np.ndarray:
        return np.repeat(self.picture[None], len(indices), axis=0)

    def close(self) -> None:
        del self.picture


BACKENDS: dict[str, Callable[[str, int | None], VideoReader]] = {
    "decord": _decord,
    "pyav": PyAVReader,
    "torchcodec": TorchCodecReader,
}


def open_video(path: str | Path, backend: str = "decord", short_side: int | None = None) -> VideoReader:
    """Opens a video, or a picture (by its ending) as a video of one frame.

    Args:
        path: a file.
        backend: ``decord`` (PyAV takes its place where decord is not exact), ``pyav`` or ``torchcodec``.
        short_side: in pixels; larger frames are made smaller as they are decoded.

    Raises:
        VideoError: the file is missing, empty, cut off or no video.
        MissingExtraError: the backend is not installed.
        InputError: an unknown backend.
    """
    if backend not in BACKENDS:
        raise InputError(f"unknown reader {backend!r}; there are {', '.join(BACKENDS)}")
    path = Path(path).absolute()  # FFmpeg takes "a:b.mp4" for a protocol
    if path.is_dir():
        raise VideoError(f"{path}: is a folder; give a file")
    if not path.is_file():
        raise VideoError(f"{path}: no such file")
    if not path.stat().st_size:
        raise VideoError(f"{path}: the file is empty")
    if is_image_name(path):
        return ImageReader(str(path), short_side)
    return BACKENDS[backend](str(path), short_side)
