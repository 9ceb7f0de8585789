"""Writing clips as mp4, GIF and PNG, and laying panels side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from diffmae_video.errors import InputError, require
from diffmae_video.files import atomic_path

ENDINGS = (".mp4", ".gif", ".png")


def to_frames(clip: Tensor) -> np.ndarray:
    """A clip [3, T, H, W] in [0, 1] (clamped) to uint8 frames [T, H, W, 3]."""
    frames: np.ndarray = (clip.clamp(0, 1) * 255).round().byte().permute(1, 2, 3, 0).cpu().numpy()
    return frames


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float, crf: int = 12) -> None:
    """Writes uint8 frames [H, W, 3], an array of them or one after another, by the file's ending.

    ``.mp4`` is H.264 in yuv420p (an odd side is padded by its last row or column) and keeps one frame in
    memory, ``.gif`` loops for ever, ``.png`` takes one frame.

    Raises:
        InputError: an unknown ending, or several frames for a PNG.
        OSError: the file cannot be written; no part of it stays.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending == ".mp4":
        av = require("av", "video")
        with atomic_path(path) as aside:
            try:
                with av.open(str(aside), "w", "mp4", options={"movflags": "+faststart"}) as container:
                    _encode(av, container, frames, fps, crf)
            except av.FFmpegError as error:
                raise OSError(error.errno, f"{path}: {error.strerror}") from error
    elif ending == ".gif":
        pictures = [Image.fromarray(frame).quantize(256) for frame in frames]
        with atomic_path(path) as aside:
            pictures[0].save(
                aside, "GIF", save_all=True, append_images=pictures[1:], duration=round(1000 / fps), loop=0
            )
    elif ending == ".png":
        frames = list(frames)
        if len(frames) != 1:
            raise InputError(f"{path}: a PNG holds one frame and there are {len(frames)}; use .mp4 or .gif")
        with atomic_path(path) as aside:
            Image.fromarray(frames[0]).save(aside, "PNG")
    else:
        raise InputError(
            f"{path}: cannot write {ending or 'a file without an ending'}; use {', '.join(ENDINGS)}"
        )


def _encode(av, container, frames: Iterable[np.ndarray], fps: float, crf: int) -> None:  # type: ignore[no-untyped-def]
    options = {"crf": str(crf), "preset": "medium"}
    stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=options)
    stream.pix_fmt = "yuv420p"
    # Said, since players take large frames for BT.709's
    stream.codec_context.colorspace = av.video.reformatter.Colorspace.ITU601
    stream.codec_context.color_range = av.video.reformatter.ColorRange.MPEG
    for frame in frames:
        height, width = frame.shape[:2]
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if not stream.codec_context.is_open:
            stream.height, stream.width = frame.shape[:2]
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
    container.mux(stream.encode(None))


def panels(clips: Sequence[Tensor], titles: Sequence[str], height: int, gap: int = 6) -> np.ndarray:
    """Clips [3, T, H, W] in [0, 1] side by side, each under its title: uint8 [T, h, w, 3].

    Args:
        height: of each panel in pixels; pictures are enlarged by nearest neighbour when it is a
            multiple of theirs, so that the model's own pixels are seen.
    """
    font = ImageFont.load_default(size=13)
    line = 20
    scaled = []
    for clip in clips:
        width = round(clip.shape[3] * height / clip.shape[2])
        whole = height % clip.shape[2] == 0
        mode = {"mode": "nearest"} if whole else {"mode": "bilinear", "antialias": True}
        scaled.append(
            to_frames(F.interpolate(clip.movedim(1, 0), size=(height, width), **mode).movedim(0, 1))
        )
    widths = [frames.shape[2] for frames in scaled]
    total = sum(widths) + gap * (len(widths) - 1)
    header = Image.new("RGB", (total, line), "white")
    canvas = np.full((len(scaled[0]), line + height, total, 3), 255, np.uint8)
    left, draw = 0, ImageDraw.Draw(header)
    for frames, title, width in zip(scaled, titles, widths, strict=True):
        draw.text((left + 1, 2), title, fill="black", font=font)
        canvas[:, line:, left : left + width] = frames
        left += width + gap
    canvas[:, :line] = np.asarray(header)
    return canvas
