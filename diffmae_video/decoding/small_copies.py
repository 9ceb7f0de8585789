"""Smaller copies of videos, so that a training run does not decode large frames again and again."""

import errno
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from diffmae_video.decoding.backends import open_quietly
from diffmae_video.decoding.orientation import UPRIGHT, Orientation
from diffmae_video.decoding.pyav import PyAVReader
from diffmae_video.decoding.reader import VideoError, VideoReader, reason
from diffmae_video.errors import require
from diffmae_video.files import atomic_path

# Errors of the place where the copy is written. They say nothing about the source.
TARGET_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
FAST_DECODING = {"preset": "veryfast", "tune": "fastdecode", "bf": "0", "threads": "1"}


def resize_video(
    source: str | Path, target: str | Path, short_side: int, gop: int = 2, crf: int = 23
) -> None:
    """Writes an upright H.264 copy whose short side has at most ``short_side`` pixels, without sound.

    The copy runs at the source's mean rate. It keeps the aspect of the pixels and what the source says about
    its colours, with 8 bits for each sample.

    Args:
        gop: frames between key frames; few, so that a reader that skips decodes little. There are no
            B-frames, and x264 leaves out what makes decoding slow (its tune ``fastdecode``).
        crf: x264's quality; 23 is its own default, 12 is close to the source.

    Raises:
        VideoError: the source cannot be read.
        OSError: the target cannot be written; nothing is left there.
    """
    av = require("av", "video")
    flags = require("av.video.reformatter", "video").Interpolation
    scaling = flags.AREA | flags.ACCURATE_RND
    with open_quietly(source, "pyav") as reader:
        rate = Fraction(reader.fps).limit_denominator(10_000)
        orientation, stored = UPRIGHT, (reader.height, reader.width)
        if isinstance(reader, PyAVReader):
            orientation, stored = reader.orientation, reader.stored_size
        scale = min(1.0, short_side / min(stored))
        height, width = (2 * max(1, round(side * scale / 2)) for side in stored)
        try:
            # mp4, whatever the target's ending: the name is the user's
            with atomic_path(target) as aside, av.open(str(aside), "w", "mp4") as writer:
                options = {
                    "crf": str(crf),
                    "preset": "veryfast",
                    "tune": "fastdecode",
                    "bf": "0",
                    "threads": "1",
                }
                out = writer.add_stream("libx264", rate=rate, options=options)
                out.pix_fmt, out.gop_size = "yuv420p", gop
                out.height, out.width = (width, height) if orientation.transposed else (height, width)
                context = out.codec_context
                context.sample_aspect_ratio = reader.aspect
                # Without these a player guesses the colours from the size, which changes here.
                colours = reader.colours
                context.colorspace, context.color_range = colours.matrix, colours.range
                context.color_primaries, context.color_trc = colours.primaries, colours.transfer
                for number, frame in enumerate(_stored_frames(av, reader)):
                    small = frame.reformat(width, height, "yuv420p", interpolation=scaling, threads=1)
                    small = _upright(av, small, orientation)
                    small.pts, small.time_base = number, 1 / rate
                    writer.mux(out.encode(small))
                writer.mux(out.encode(None))
        except av.FFmpegError as error:
            if error.errno in TARGET_ERRORS:
                raise OSError(error.errno, error.strerror, str(target)) from error
            raise VideoError(f"{source}: cannot be converted ({reason(error)})") from error


def _stored_frames(av: Any, reader: VideoReader) -> Iterator[Any]:
    """PyAV's frames of a video, or of a folder of pictures or an animated one."""
    if isinstance(reader, PyAVReader):
        yield from reader.stored_frames()
        return
    for index in range(reader.num_frames):
        yield av.VideoFrame.from_ndarray(np.ascontiguousarray(reader.frames([index])[0]), "rgb24")


def _upright(av: Any, frame: Any, orientation: Orientation) -> Any:
    """Brings a frame in yuv420p with even sides upright."""
    if orientation == UPRIGHT:
        return frame
    stored, height = frame.to_ndarray(), frame.height
    chroma = stored[height:].reshape(2, height // 2, frame.width // 2)
    planes = [orientation.upright(plane) for plane in (stored[:height], *chroma)]
    width = planes[0].shape[1]
    pixels = np.concatenate([plane.reshape(-1, width) for plane in planes])
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "yuv420p")
