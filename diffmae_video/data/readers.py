"""Readers of videos behind one interface: frames at sorted indices, as uint8 [n, H, W, 3]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from typing_extensions import Self

from diffmae_video.errors import InputError, require


class VideoError(InputError):
    """A video that cannot be read; the message names the file and the reason."""


class VideoReader(Protocol):
    """An open video.

    Attributes:
        num_frames: as the container reports it.
        fps: mean frames per second.
        height, width: of a frame as shown, in pixels.
    """

    num_frames: int
    fps: float
    height: int
    width: int

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """Frames at ascending indices (repeats allowed): uint8 [n, H, W, 3], RGB.

        Raises:
            VideoError: an index outside the video, or frames that cannot be decoded.
        """

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Reader:
    """What the backends share: checks of indices and closing."""

    path: str
    num_frames: int

    def check(self, indices: Sequence[int]) -> list[int]:
        wanted = [int(i) for i in indices]
        if wanted != sorted(wanted) or (wanted and not 0 <= wanted[0] <= wanted[-1] < self.num_frames):
            raise VideoError(
                f"{self.path}: frames {wanted} are not ascending indices below {self.num_frames}"
            )
        return wanted

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class DecordReader(_Reader):
    """decord, with one decoding thread: open it in the process that reads, and close it after use."""

    def __init__(self, path: str) -> None:
        decord = require("decord", "video")
        self.path = path
        try:
            self.reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
            self.num_frames = len(self.reader)
            self.fps = float(self.reader.get_avg_fps())
            if not self.num_frames:
                raise VideoError(f"{path}: holds no frame")
            self.height, self.width = self.reader[0].shape[:2]
            self.reader.seek(0)
        except (decord.DECORDError, RuntimeError, IndexError) as error:
            raise VideoError(f"{path}: decord cannot read it ({_first_line(error)})") from error
        self.errors = (decord.DECORDError, RuntimeError, IndexError)

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        wanted = self.check(indices)
        try:
            decoded: np.ndarray = self.reader.get_batch(wanted).asnumpy()
        except self.errors as error:
            raise VideoError(f"{self.path}: decord cannot decode it ({_first_line(error)})") from error
        return decoded

    def close(self) -> None:
        del self.reader


class PyAVReader(_Reader):
    """PyAV: decodes from the start up to the last frame that is asked for."""

    def __init__(self, path: str) -> None:
        self.av = require("av", "video")
        self.path = path
        try:
            self.container = self.av.open(path)
        except (self.av.FFmpegError, OSError) as error:
            raise VideoError(f"{path}: PyAV cannot read it ({_first_line(error)})") from error
        if not self.container.streams.video:
            self.container.close()
            raise VideoError(f"{path}: has no video stream")
        self.stream = self.container.streams.best("video") or self.container.streams.video[0]
        self.height, self.width = self.stream.height, self.stream.width
        self.fps = float(self.stream.average_rate or self.stream.guessed_rate or 0)
        self.num_frames = self.stream.frames or self._count()
        if not self.num_frames or not self.height:
            self.container.close()
            raise VideoError(f"{path}: holds no frame")

    def _count(self) -> int:
        """Counts packets, for containers that do not state a length."""
        count = sum(1 for packet in self.container.demux(self.stream) if packet.size)
        self.container.seek(0)
        return count

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        wanted = self.check(indices)
        kept: dict[int, np.ndarray] = {}
        try:
            self.container.seek(0)
            for i, frame in enumerate(self.container.decode(self.stream)):
                if i in wanted:
                    kept[i] = frame.to_ndarray(format="rgb24")
                if i >= wanted[-1]:
                    break
        except (self.av.FFmpegError, OSError) as error:
            raise VideoError(f"{self.path}: PyAV cannot decode it ({_first_line(error)})") from error
        missing = sorted(set(wanted) - set(kept))
        if missing:
            raise VideoError(f"{self.path}: frame {missing[0]} of {self.num_frames} could not be decoded")
        return np.stack([kept[i] for i in wanted])

    def close(self) -> None:
        self.container.close()


BACKENDS: dict[str, Callable[[str], VideoReader]] = {"decord": DecordReader, "pyav": PyAVReader}


def open_video(path: str | Path, backend: str = "decord") -> VideoReader:
    """Opens a video.

    Args:
        path: a file.
        backend: ``decord`` or ``pyav``.

    Raises:
        VideoError: the file is missing, empty or no video.
        MissingExtraError: the backend is not installed.
        InputError: an unknown backend.
    """
    if backend not in BACKENDS:
        raise InputError(f"unknown reader {backend!r}; there are {', '.join(BACKENDS)}")
    path = Path(path)
    if not path.is_file():
        raise VideoError(f"{path}: no such file")
    if not path.stat().st_size:
        raise VideoError(f"{path}: the file is empty")
    return BACKENDS[backend](str(path))


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
