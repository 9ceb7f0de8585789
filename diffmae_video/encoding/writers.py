"""Writes films frame by frame as mp4, WebM, GIF or PNG, by the file's ending; whole or not at all."""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from diffmae_video.decoding.reader import VideoReader
from diffmae_video.encoding.film_encoder import VideoEncoder
from diffmae_video.encoding.tracks import CarriedTracks
from diffmae_video.errors import InputError, require
from diffmae_video.files import atomic_path, flush_folder

ENDINGS = (".mp4", ".webm", ".gif", ".png")
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
    """Gives a function that adds a frame, uint8 [H, W, 3], to a film. The file appears if all goes well.

    ``.mp4`` is H.264 in yuv420p (an odd side repeats its last row or column), and ``.webm`` is VP9 likewise.
    ``.gif`` has 256 colours for each frame and loops for ever. Memory holds one or two frames and what the
    encoder looks ahead. ``.png`` is a picture if ``times`` has one frame or is None, and else a folder
    without the ending: ``film.png`` stands for ``film/00000.png``, ``film/00001.png`` and so on, which
    :func:`~diffmae_video.decoding.open_video` reads back.

    Args:
        path: the file.
        fps: frames per second.
        crf: quality of mp4 and WebM; less is better.
        times: of the frames in seconds. If they are not steady, they count instead of ``fps``.
        sound: a film whose sound and subtitles are copied into an mp4 or a WebM. Tracks that the format
            cannot hold are left out with a warning.
        light: an encoder that takes little memory, for many films at once.
        like: the film that the frames were read from. The output keeps what it says about its colours, 10
            bits (as HEVC in mp4), the aspect of its pixels and, at a variable rate, how long the last frame
            is shown. WebM and GIF get square pixels. A PNG keeps the colour profile of a picture.

    Raises:
        InputError: the ending is unknown, a PNG gets several frames, or the folder of frames exists and holds
            other files.
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
                with (
                    av.open(str(aside), "w", ending[1:], options=options) as container,
                    contextlib.closing(CarriedTracks(container, ending, sound)) as tracks,
                ):
                    encoder = VideoEncoder(container, ending, fps, crf, times, light, like, tracks.delay)
                    tracks.add_streams()
                    yield lambda frame: tracks.mux(encoder.encode(frame), encoder.seconds)
                    tracks.mux(encoder.encode(None), float("inf"))
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
