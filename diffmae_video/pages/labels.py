"""Class names and their probabilities, drawn into a video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from diffmae_video.decoding import VideoReader
from diffmae_video.decoding.endings import IMAGE_ENDINGS
from diffmae_video.encoding.clips import write_video
from diffmae_video.errors import InputError
from diffmae_video.evaluation.predict import Predictor, all_frames
from diffmae_video.runtime.progress import ProgressBar

SMALLEST = 11  # pixels of text that can be read
SHARE = 0.04  # of the frame's short side, that the text takes
WIDEST = 20  # of the panel, in heights of the text
DARK, BAR, TEXT = (16, 18, 22), (37, 99, 175), (255, 255, 255)
OPACITY = 0.72  # of the panel: pictures shine through, and bright ones do not drown the text


def label_video(predictor: Predictor, source: str | Path, target: str | Path, count: int) -> None:
    """Writes a copy of a video on which the likeliest classes are drawn over time.

    It has the source's size and mean rate, and no sound.

    Args:
        count: classes that are shown.

    Raises:
        VideoError: the source cannot be read.
        OSError: the target cannot be written; no part of it stays.
    """
    timeline = predictor.over_time(source)

    def labelled(video: VideoReader) -> Iterator[np.ndarray]:
        bar = ProgressBar(all_frames(video), total=video.num_frames, unit=" frames", leave=False)
        for second, frame in zip(video.times, bar, strict=True):
            yield draw_labels(frame, predictor.top(timeline.at(second), count))

    with predictor.decoder.open(source, predictor.backend) as video:
        write_video(target, labelled(video), video.fps, crf=20)


def labelled_paths(source: Path, paths: Sequence[Path], target: Path) -> list[Path]:
    """Where the labelled copies of a folder's files go, or of ``source`` itself if that is one.

    A folder's keep their places in it and their names, with .mp4 or .png added where they are of another
    kind.

    Raises:
        InputError: a copy would replace a source or be taken for one the next time, or has another ending.
    """
    if target.resolve().is_relative_to(source.resolve()):
        raise InputError(f"--output {target} lies in the input {source}; give another path")
    copies = []
    for path in paths:
        ending = ".png" if path.suffix.lower() in IMAGE_ENDINGS else ".mp4"
        if path == source:
            if target.suffix.lower() != ending:
                raise InputError(f"--output {target}: the labelled copy of {source} is a {ending} file")
            return [target]
        name = path.name if path.suffix.lower() == ending else path.name + ending
        copies.append(target / path.relative_to(source).with_name(name))
    return copies


def draw_labels(frame: np.ndarray, labels: Sequence[tuple[str, float]]) -> np.ndarray:
    """A frame, uint8 [H, W, 3], with a panel at its bottom: a row for each label, its bar behind it.

    The text is sized by the frame. Long names are shortened, and rows that do not fit are left out.
    The font is Pillow's own, which has the letters of English; others become boxes.
    """
    height, width = frame.shape[:2]
    size = max(SMALLEST, round(SHARE * min(height, width)))
    font = ImageFont.load_default(size)
    margin, pad, row = size // 2, max(2, size // 4), round(1.4 * size)
    wide = min(width - 2 * margin, WIDEST * size)
    shown = labels[: max(0, (height - 2 * margin - 2 * pad) // row)]
    tall = 2 * pad + row * len(shown)
    if not shown or wide < 4 * size:
        return frame
    top = height - margin - tall
    area = (slice(top, top + tall), slice(margin, margin + wide))
    below = Image.fromarray(frame[area])
    panel = Image.blend(below, Image.new("RGB", below.size, DARK), OPACITY)
    draw = ImageDraw.Draw(panel)
    for i, (name, probability) in enumerate(shown):
        y = pad + i * row
        length = round((wide - 2 * pad) * probability)
        if length:
            draw.rectangle((pad, y + 1, pad + length - 1, y + row - 2), fill=BAR)
        share = f"{probability:.0%}"
        middle, right = y + row // 2, wide - 2 * pad
        room = right - 3 * pad - font.getlength("100%")
        draw.text((2 * pad, middle), shorten(name, room, font), TEXT, font, anchor="lm")
        draw.text((right, middle), share, TEXT, font, anchor="rm")
    drawn = frame.copy()
    drawn[area] = np.asarray(panel)
    return drawn


def shorten(name: str, room: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A name that is at most ``room`` pixels wide, with an ellipsis in place of what was cut."""
    if font.getlength(name) <= room:
        return name
    for end in range(len(name) - 1, 0, -1):
        short = name[:end].rstrip() + "…"
        if font.getlength(short) <= room:
            return short
    return "…"
