"""Smaller copies of videos, so that a training run does not decode large frames again and again."""

from __future__ import annotations

import errno
from fractions import Fraction
from pathlib import Path

from diffmae_video.decoding.base import VideoError
from diffmae_video.decoding.pyav import PyAVReader
from diffmae_video.errors import require
from diffmae_video.files import atomic_path


def resize_video(
    source: str | Path, target: str | Path, short_side: int, gop: int = 2, crf: int = 23
) -> None:
    """Writes an H.264 copy whose short side has at most ``short_side`` pixels; no audio.

    Args:
        gop: frames between key frames; few, so that a reader that skips decodes little. There are no
            B-frames, and x264 leaves out what makes decoding slow (its tune ``fastdecode``).
        crf: x264's quality; 23 is its own default, 12 is close to the source.

    Raises:
        VideoError: the source cannot be read.
        OSError: the target cannot be written; nothing is left there.
    """
    av = require("av", "video")
    with PyAVReader(str(Path(source).absolute())) as exact:  # refuses what is cut off
        rate = Fraction(exact.fps).limit_denominator(10_000)
    count = 0
    try:
        # mp4 whatever the target's name is: the name is the user's
        with (
            atomic_path(target) as aside,
            av.open(str(source)) as reader,
            av.open(str(aside), "w", "mp4") as writer,
        ):
            if not reader.streams.video:
                raise VideoError(f"{source}: has no video stream")
            stream = reader.streams.best("video")
            scale = min(1.0, short_side / min(stream.height, stream.width))
            options = {"crf": str(crf), "preset": "veryfast", "tune": "fastdecode", "bf": "0", "threads": "1"}
            out = writer.add_stream("libx264", rate=rate, options=options)
            out.width, out.height = (2 * round(side * scale / 2) for side in (stream.width, stream.height))
            out.pix_fmt, out.gop_size = "yuv420p", gop
            # Without these a player guesses the colours by the size, which is another one now.
            for tag in ("colorspace", "color_primaries", "color_trc", "color_range"):
                setattr(out.codec_context, tag, getattr(stream.codec_context, tag))
            for frame in reader.decode(stream):
                if frame.is_corrupt:
                    raise VideoError(f"{source}: the frame at {frame.time} s is damaged")
                if not count and frame.rotation:
                    out.set_display_rotation(frame.rotation)  # is shown upright, as the source is
                small = frame.reformat(out.width, out.height, "yuv420p", interpolation="AREA")
                small.pts, small.time_base = count, 1 / rate  # a constant rate
                writer.mux(out.encode(small))
                count += 1
            if not count:
                raise VideoError(f"{source}: holds no frame")
            writer.mux(out.encode(None))
    except av.FFmpegError as error:
        if error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS):
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise VideoError(f"{source}: cannot be converted ({error.strerror or error})") from error
