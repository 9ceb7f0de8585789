"""The decord reader: the fastest one for whole GOPs, used for files that it is known to read exactly."""

import contextlib

import numpy as np

from diffmae_video.decoding.pyav import PyAVReader
from diffmae_video.decoding.reader import FasterReader, VideoError, VideoReader, reason
from diffmae_video.errors import MissingExtraError, require

# decord's sparse reads are exact for these where GOPs are closed; of HEVC they return other frames.
EXACT_CODECS = ("h264", "vp8", "vp9")
EXACT_CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
MIN_WIDTH = 80  # in pixels: decord fails on the padded rows of some narrower frames (16, 48 and 72)


class DecordReader(FasterReader):
    """decord with one decoding thread. Open it in the process that reads, and close it after use.

    Its colours are about one level darker than PyAV's: its converter rounds down.

    Args:
        exact: the same file, opened with the same size.
    """

    def __init__(self, exact: PyAVReader, short_side: int | None) -> None:
        decord = require("decord", "video")
        super().__init__(exact)
        self.errors = (decord.DECORDError, RuntimeError, IndexError)
        size = {"width": self.width, "height": self.height} if short_side else {}
        try:
            self.reader = decord.VideoReader(self.path, ctx=decord.cpu(0), num_threads=1, **size)
        except self.errors as error:
            raise VideoError(f"{self.path}: decord cannot read it ({reason(error)})") from error
        self.held_frames = len(self.reader)

    def decode(self, indices: list[int]) -> np.ndarray:
        try:
            decoded: np.ndarray = self.reader.get_batch(indices).asnumpy()
        except self.errors as error:
            raise VideoError(f"{self.path}: decord cannot decode it ({reason(error)})") from error
        return decoded

    def close(self) -> None:
        del self.reader


def open_with_decord(path: str, short_side: int | None) -> VideoReader:
    """decord where it is known to be exact, and else PyAV.

    decord takes another one of several streams, ignores edit lists and orientation, and its sparse reads
    return other frames of HEVC, of MPEG-4 with B-frames, of open GOPs and of files without an index.
    """
    # decord's libraries become visible to all: PyAV's VP9 encoder would take its older libvpx and fail.
    with contextlib.suppress(MissingExtraError):
        require("av.codec", "video")
    require("decord", "video")
    exact = PyAVReader(path, short_side)
    context = exact.stream.codec_context
    is_known = exact.container_kind in EXACT_CONTAINERS and context.name in EXACT_CODECS
    is_single = len(exact.container.streams.video) == 1
    if not (is_known and is_single and exact.is_plain) or exact.width < MIN_WIDTH:
        return exact
    return exact.replaced_by(lambda: DecordReader(exact, short_side))
