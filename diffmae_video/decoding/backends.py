"""The readers by name, and which one a file gets."""

import warnings
from collections.abc import Callable
from pathlib import Path

from diffmae_video.decoding.decord import open_with_decord
from diffmae_video.decoding.file_types import is_image_name
from diffmae_video.decoding.pictures import (
    FOLDER_FPS,
    AnimatedPictureReader,
    FrameFolderReader,
    PictureReader,
    is_animated,
)
from diffmae_video.decoding.pyav import PyAVReader
from diffmae_video.decoding.reader import VideoError, VideoReader
from diffmae_video.decoding.storage import MemoryFile, fetch, is_stored
from diffmae_video.decoding.stored_reader import StoredReader
from diffmae_video.decoding.torchcodec import open_with_torchcodec
from diffmae_video.errors import InputError, InputWarning
from diffmae_video.options import OPTIONS

BACKENDS: dict[str, Callable[[str, int | None], VideoReader]] = {
    "decord": open_with_decord,
    "pyav": PyAVReader,
    "torchcodec": open_with_torchcodec,
}


def open_video(
    path: str | Path,
    backend: str = OPTIONS["DATA.BACKEND"].default,
    short_side: int | None = None,
    fps: float | None = None,
) -> VideoReader:
    """Opens a video, a picture as a video of one frame, or a folder of pictures as a film.

    The file may lie in a shard or in an object store, see :mod:`~diffmae_video.decoding.storage`.

    What a user should know about the file is given as a warning, once.

    Args:
        path: the file or folder.
        backend: ``decord`` or ``torchcodec`` (PyAV takes their place where they would return other frames),
            or ``pyav``.
        short_side: in pixels; larger frames are made smaller as they are decoded.
        fps: frames per second of a folder of pictures; 25 by default.

    Raises:
        VideoError: the file is missing, empty, cut off or no video, or the folder holds no pictures.
        MissingExtraError: the backend is not installed.
        InputError: there is no such backend, or the rate is not above 0.
    """
    video = open_quietly(path, backend, short_side, fps)
    for note in video.notes:
        warnings.warn(note, InputWarning, stacklevel=2)
    return video


def open_quietly(
    path: str | Path, backend: str, short_side: int | None = None, fps: float | None = None
) -> VideoReader:
    """As :func:`open_video`, without warnings."""
    if backend not in BACKENDS:
        raise InputError(f"unknown reader {backend!r}; there are {', '.join(BACKENDS)}")
    if fps is not None and not fps > 0:
        raise InputError(
            f"a folder of frames cannot be shown at {fps:g} frames per second; give a rate above 0"
        )
    if is_stored(path):
        name = str(path)
        data = fetch(name)
        if not data:
            raise VideoError(f"{name}: the file is empty")
        file = MemoryFile(data, Path(name).suffix)
        return StoredReader(name, file, lambda opened: _open_file(opened, name, backend, short_side))
    path = Path(path).absolute()
    if path.is_dir():
        return FrameFolderReader(str(path), short_side, fps or FOLDER_FPS)
    if not path.is_file():
        raise VideoError(f"{path}: no such file")
    if not path.stat().st_size:
        raise VideoError(f"{path}: the file is empty")
    return _open_file(str(path), str(path), backend, short_side)


def _open_file(file: str, name: str, backend: str, short_side: int | None) -> VideoReader:
    """Opens a file by the kind that its name says it is."""
    if is_animated(file, name):
        return AnimatedPictureReader(file, short_side)
    if is_image_name(name):
        return PictureReader(file, short_side)
    return BACKENDS[backend](file, short_side)
