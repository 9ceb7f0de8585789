"""Keeps the frames of tiny videos and pictures in memory, so that a small data set is decoded only once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffmae_video.decoding.process import DecodingProcess
from diffmae_video.decoding.reader import VideoError, VideoReader
from diffmae_video.decoding.storage import is_stored

VIDEO_BYTES = 2**20  # a video is tiny if all its frames take at most this
KEPT_BYTES = 2**29  # the frames that a process keeps take at most this


class TinyVideos:
    """Tiny videos whose frames have been decoded, for all later clips, runs and evaluations of the process.

    Args:
        limit: bytes that the kept frames may take; whatever comes later is decoded every time.
    """

    def __init__(self, limit: int) -> None:
        self.free = limit
        self.kept: dict[tuple[object, ...], KeptVideo | None] = {}  # None: a frame cannot be decoded

    def open(
        self, decoder: DecodingProcess, path: str | Path, backend: str, short_side: int | None
    ) -> VideoReader:
        """Opens a video like ``decoder.open``, with exactly the same frames.

        Raises:
            VideoError: the video cannot be opened, or the decoder hung or crashed.
        """
        version = _version(path)
        if version is None:
            return decoder.open(path, backend, short_side)
        key = (str(path), backend, short_side, version)
        kept = self.kept.get(key)
        if kept is not None:
            return kept
        video = decoder.open(path, backend, short_side)
        size = 3 * video.num_frames * video.height * video.width
        if size > min(VIDEO_BYTES, self.free) or key in self.kept:
            return video
        try:
            with video:
                kept = KeptVideo(video)
        except VideoError:  # clips of the frames before the damage can still be read
            self.kept[key] = None
            return decoder.open(path, backend, short_side)
        self.kept[key] = kept
        self.free -= size
        return kept


class KeptVideo(VideoReader):
    """All frames of a video in memory, beside the file if a device may decode it.

    Raises:
        VideoError: a frame cannot be decoded.
    """

    def __init__(self, video: VideoReader) -> None:
        self.path, self.num_frames, self.fps = video.path, video.num_frames, video.fps
        self.height, self.width, self.aspect = video.height, video.width, video.aspect
        self.colours, self.duration = video.colours, video.duration
        self.times, self.is_plain = video.times, video.is_plain
        self.file = video.content() if video.is_plain else b""
        self.pixels = np.array(video.frames(range(video.num_frames)))  # a copy: uint8 [n, H, W, 3]

    def decode(self, indices: list[int]) -> np.ndarray:
        return self.pixels[indices]

    def content(self) -> bytes:
        return self.file

    def close(self) -> None:
        pass  # it stays open for the next clip


def _version(path: str | Path) -> tuple[int, int] | None:
    """Changes when the file is written again. None in a shard or a store, where nothing tells."""
    if is_stored(path) or not Path(path).exists():
        return None
    state = Path(path).stat()
    return state.st_mtime_ns, state.st_size


TINY_VIDEOS = TinyVideos(KEPT_BYTES)  # of this process
