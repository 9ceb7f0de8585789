"""Reads a video or picture that was fetched from a shard or an object store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np

from diffmae_video.decoding.reader import VideoError, VideoReader
from diffmae_video.decoding.storage import MemoryFile


class StoredReader(VideoReader):
    """A reader of a file in memory, whose messages name the place that it came from.

    Args:
        path: where the file is stored.
        file: its content.
        open_file: opens the content by its path.

    Raises:
        VideoError: the content is not a video or picture.
    """

    def __init__(self, path: str, file: MemoryFile, open_file: Callable[[str], VideoReader]) -> None:
        self.path, self.file = path, file
        try:
            with self._named():
                self.reader = reader = open_file(file.path)
        except BaseException:
            file.close()
            raise
        self.num_frames, self.fps, self.times = reader.num_frames, reader.fps, reader.times
        self.height, self.width, self.aspect = reader.height, reader.width, reader.aspect
        self.duration, self.colours, self.icc = reader.duration, reader.colours, reader.icc
        self.is_plain = reader.is_plain
        self.notes = tuple(note.replace(file.path, path) for note in reader.notes)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except VideoError as error:
            raise VideoError(str(error).replace(self.file.path, self.path)) from error

    def decode(self, indices: list[int]) -> np.ndarray:
        with self._named():
            return self.reader.decode(indices)

    def check(self) -> None:
        with self._named():
            self.reader.check()

    def content(self) -> bytes:
        return self.reader.content()

    def close(self) -> None:
        self.reader.close()
        self.file.close()
