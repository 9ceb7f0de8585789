"""Writing clips as mp4, GIF and PNG, and laying panels side by side."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from diffmae_video.encoding.writers import open_film


def to_frames(clips: Tensor) -> np.ndarray:
    """Converts clips [..., 3, T, H, W] in [0, 1] (clamped) to uint8 frames [..., T, H, W, 3]."""
    return (clips.clamp(0, 1) * 255).round().byte().movedim(-4, -1).cpu().numpy()


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float, crf: int = 12) -> None:
    """Writes uint8 frames [H, W, 3], an array of them or one after another, by the file's ending.

    See :func:`~diffmae_video.encoding.writers.open_film`; ``.png`` takes one frame.

    Raises:
        InputError: an unknown ending, or several frames for a PNG.
        OSError: the file cannot be written; no part of it stays.
    """
    with open_film(path, fps, crf) as write:
        for frame in frames:
            write(frame)


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
