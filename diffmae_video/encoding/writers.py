"""Films written frame by frame: mp4, WebM, GIF or PNG by the file's ending, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diffmae_video.decoding.base import VideoReader
from diffmae_video.decoding.packets import ATTACHED_PICTURE
from diffmae_video.errors import InputError, require
from diffmae_video.files import atomic_path, flush_folder

ENDINGS = (".mp4", ".webm", ".gif", ".png")
TICKS = 90_000  # a second's, where frames have times of their own
GIF_CLOCK = Fraction(1, 100)  # the format's
GIF_LEAST = 2  # of its ticks for a frame: browsers play what is shorter at a tenth of a second
STEADY = 2e-3  # seconds that a frame of a steady film may come early or late; some containers round to 1 ms
FRAME_NAME = re.compile(r"\d{5,}\.png")

Write = Callable[[np.ndarray], None]


@contextlib.contextmanager
def open_film(
    path: str | Path,
    fps: float,
    crf: int = 12,
    times: np.ndarray | None = None,
    sound: str | Path | None = None,
    light: bool = False,
    like: VideoReader | None = None,
) -> Iterator[Write]:
    """Gives a function that adds a frame, uint8 [H, W, 3], to a film; it is there when all went well.

    ``.mp4`` is H.264 in yuv420p (an odd side is padded by its last row or column), ``.webm`` VP9 likewise,
    ``.gif`` has 256 colours for each frame and loops for ever; one frame or two are kept in memory and what
    the encoder looks ahead. ``.png`` is a picture if ``times`` is of one frame or None, and else a folder
    without the ending: ``film.png`` stands for ``film/00000.png``, ``film/00001.png`` and so on.

    Args:
        path: the file.
        fps: frames per second.
        crf: quality of mp4 and WebM; less is better.
        times: of the frames in seconds; where they are not steady they are kept in place of ``fps``.
        sound: a film whose sound is copied into an mp4 or a WebM, see :func:`sound_codecs`.
        light: an encoder that takes little memory, for many films at once.
        like: a film that frames were read from; the aspect of its pixels holds for mp4, whether the matrix of
            its colours is said for mp4 and WebM, and its profile of colours for PNG.

    Raises:
        InputError: an unknown ending, or several frames for a PNG, or a folder in its place with other
            files in it.
        OSError: the file cannot be written; no part of it stays.
    """
    path = Path(path)
    ending = path.suffix.lower()
    icc = like.icc if like else None
    if ending in (".mp4", ".webm", ".gif"):
        av = require("av", "video")
        with atomic_path(path) as aside:
            try:
                options = {"movflags": "+faststart"} if ending == ".mp4" else {}
                with av.open(str(aside), "w", ending[1:], options=options) as container:
                    encoder = _Encoder(av, container, ending, fps, crf, times, light, like)
                    with _Sound(av, container, sound) as track:
                        yield lambda frame: track.mux(encoder.encode(frame), encoder.seconds)
                        track.mux(encoder.encode(None), float("inf"))
            except av.FFmpegError as error:
                raise OSError(error.errno, f"{path}: {error.strerror}") from error
    elif ending == ".png" and (times is None or len(times) == 1):
        with atomic_path(path) as aside:
            count = 0

            def write(frame: np.ndarray) -> None:
                nonlocal count
                count += 1
                if count > 1:
                    raise InputError(f"{path}: a PNG holds one frame and there are more; use .mp4 or .gif")
                Image.fromarray(frame).save(aside, "PNG", icc_profile=icc)

            yield write
            if not count:
                raise InputError(f"{path}: a PNG holds one frame and there is none")
    elif ending == ".png" and times is not None:
        with _atomic_folder(path.with_suffix("")) as folder:
            numbers = iter(range(len(times)))
            yield lambda frame: Image.fromarray(frame).save(
                folder / f"{next(numbers):05d}.png", "PNG", compress_level=1
            )
    else:
        raise InputError(
            f"{path}: cannot write {ending or 'a file without an ending'}; use {', '.join(ENDINGS)}"
        )


def sound_codecs(path: str | Path) -> list[str]:
    """The codecs of a file's sound tracks; none of a picture."""
    av = require("av", "video")
    try:
        with av.open(str(path)) as container:
            return [stream.codec_context.name for stream in container.streams.audio]
    except av.FFmpegError:
        return []


def keeps_sound(path: str | Path, codecs: list[str]) -> bool:
    """Whether a film by this ending can hold sound of these codecs as it is."""
    av = require("av", "video")
    ending = Path(path).suffix.lower()
    if ending not in (".mp4", ".webm"):
        return False
    with av.open(os.devnull, "w", ending[1:]) as container:
        return set(codecs) <= container.supported_codecs


class _Encoder:
    """Frames to packets; the size is the first frame's."""

    def __init__(
        self,
        av: Any,
        container: Any,
        ending: str,
        fps: float,
        crf: int,
        times: np.ndarray | None,
        light: bool,
        like: VideoReader | None,
    ) -> None:
        self.av, self.ending, self.count = av, ending, 0
        self.rate = Fraction(fps).limit_denominator(1001)
        is_steady = times is None or np.abs(times - np.arange(len(times)) / fps).max() <= STEADY
        self.times = None if is_steady else times
        codec, options = {
            ".mp4": ("libx264", {"crf": str(crf), "preset": "medium"}),
            ".webm": ("libvpx-vp9", {"crf": str(crf), "b": "0", "cpu-used": "4", "row-mt": "1"}),
            ".gif": ("gif", {}),
        }[ending]
        if light:
            options |= {"preset": "veryfast", "threads": "1"} if ending == ".mp4" else {"lag-in-frames": "0"}
        self.stream = container.add_stream(codec, rate=self.rate, options=options if ending != ".gif" else {})
        self.clock, self.least = 1 / self.rate if self.times is None else Fraction(1, TICKS), 1
        if ending == ".gif":
            self.clock, self.least = GIF_CLOCK, GIF_LEAST
        self.last = -self.least
        self.stream.codec_context.time_base = self.clock
        self.stream.pix_fmt = "pal8" if ending == ".gif" else "yuv420p"
        if like is not None and ending == ".mp4":  # PyAV cannot say it in a WebM
            self.stream.codec_context.sample_aspect_ratio = like.aspect
        # Said, since players take large frames for BT.709's; of a film that does not say it, they do anyway.
        if ending != ".gif" and (like is None or like.colours.matrix != 2):
            self.stream.codec_context.colorspace = av.video.reformatter.Colorspace.ITU601
            self.stream.codec_context.color_range = av.video.reformatter.ColorRange.MPEG

    @property
    def seconds(self) -> float:
        """When the next frame is due."""
        if self.times is None:
            return float(self.count / self.rate)
        return float(self.times[min(self.count, len(self.times) - 1)])

    def encode(self, frame: np.ndarray | None) -> Any:
        """The packets that a frame makes ready; None for those of the end."""
        if frame is None:
            return self.stream.encode(None)
        picture = self._indexed(frame) if self.ending == ".gif" else self._padded(frame)
        if not self.stream.codec_context.is_open:
            self.stream.height, self.stream.width = picture.height, picture.width
        # Frames that a clock cannot tell apart are put after each other: equal times cannot be written.
        self.last = max(self.last + self.least, round(Fraction(self.seconds) / self.clock))
        picture.time_base, picture.pts = self.clock, self.last
        self.count += 1
        return self.stream.encode(picture)

    def _padded(self, frame: np.ndarray) -> Any:
        height, width = frame.shape[:2]
        even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        return self.av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")

    def _indexed(self, frame: np.ndarray) -> Any:
        picture = Image.fromarray(frame).quantize(256)
        colours = np.array(picture.getpalette(), np.uint8).reshape(-1, 3)
        palette = np.full((256, 4), 255, np.uint8)  # alpha, red, green, blue
        palette[: len(colours), 1:] = colours
        return self.av.VideoFrame.from_ndarray((np.asarray(picture), palette), format="pal8")


class _Sound:
    """The sound of another film, muxed as it is beside the pictures of the same time."""

    def __init__(self, av: Any, container: Any, path: str | Path | None) -> None:
        self.container, self.source = container, None
        self.packets: Iterator[Any] = iter(())
        self.next: Any = None
        if path is None:
            return
        self.source = av.open(str(path))
        streams = self.source.streams.audio
        # the pictures start at 0, whatever the source's do
        shown = next(s for s in self.source.streams.video if not s.disposition & ATTACHED_PICTURE)
        self.start = float((shown.start_time or 0) * shown.time_base)
        self.tracks = {s.index: container.add_stream_from_template(s) for s in streams}
        self.packets = (p for p in self.source.demux(*streams) if p.dts is not None)

    def mux(self, pictures: Any, seconds: float) -> None:
        """Muxes packets of pictures, and all of the sound before a time."""
        self.container.mux(pictures)
        while True:
            self.next = self.next or next(self.packets, None)
            if self.next is None or float(self.next.dts * self.next.time_base) - self.start > seconds:
                return
            packet, self.next = self.next, None
            shift = round(self.start / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = self.tracks[packet.stream_index]
            self.container.mux(packet)

    def __enter__(self) -> _Sound:
        return self

    def __exit__(self, *_: object) -> None:
        if self.source is not None:
            self.source.close()


@contextlib.contextmanager
def _atomic_folder(path: Path) -> Iterator[Path]:
    """A folder beside ``path`` that is renamed to it on success, and deleted on an error.

    Raises:
        InputError: ``path`` is there, and is no folder of numbered frames alone.
    """
    if path.exists() and not (path.is_dir() and all(FRAME_NAME.fullmatch(p.name) for p in path.iterdir())):
        raise InputError(f"{path}: is there and holds other things than frames; give another --output")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name[:64]}-", dir=path.parent))
    try:
        yield aside
        umask = os.umask(0)
        os.umask(umask)
        aside.chmod(0o777 & ~umask)
        if path.exists():
            shutil.rmtree(path)
        aside.replace(path)
        flush_folder(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
