"""Draws class names and their probabilities over the frames of a video."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from diffmae_video.decoding import VideoReader, open_video
from diffmae_video.decoding.file_types import IMAGE_ENDINGS
from diffmae_video.encoding.writers import open_film
from diffmae_video.errors import InputError
from diffmae_video.evaluation.timeline import Label, Timeline, most_likely
from diffmae_video.runtime.progress import ProgressBar

MIN_TEXT = 11  # pixels; smaller text cannot be read
TEXT_SHARE = 0.04  # height of the text as a share of the frame's short side
MAX_WIDTH = 20  # of the panel, in text heights
BACKGROUND, BAR, TEXT = (16, 18, 22), (37, 99, 175), (255, 255, 255)
OPACITY = 0.72  # of the panel: the picture shows through, but a bright one leaves the text legible
READ_BYTES, READ_FRAMES = 2**28, 512  # bound the frames that are decoded at once


def label_video(
    source: str | Path, target: str | Path, timeline: Timeline, classes: Sequence[str], count: int
) -> None:
    """Writes a copy of a video with the most likely classes drawn in over time.

    The copy has the source's size, pixel aspect, frame times and sound. Sound that the target's format
    cannot hold is left out with a warning.

    Args:
        count: the number of classes to draw.

    Raises:
        VideoError: the source cannot be read.
        OSError: the target cannot be written; no part of it stays.
    """
    with open_video(source, "pyav") as video:
        sound = source if video.num_frames > 1 else None
        with open_film(target, video.fps, crf=20, times=video.times, sound=sound, like=video) as write:
            frames = ProgressBar(
                _all_frames(video), total=video.num_frames, desc="drawing", unit=" frames", leave=False
            )
            for second, frame in zip(video.times, frames, strict=True):
                write(draw_labels(frame, most_likely(timeline.at(second), classes, count)))


def _all_frames(video: VideoReader) -> Iterator[np.ndarray]:
    """The frames of a video, uint8 [H, W, 3], decoded a few at a time."""
    count = max(1, min(READ_FRAMES, READ_BYTES // (3 * video.height * video.width)))
    for first in range(0, video.num_frames, count):
        yield from video.frames(range(first, min(first + count, video.num_frames)))


def labelled_paths(source: Path, paths: Sequence[Path], target: Path) -> list[Path]:
    """Where the labelled copies of files go.

    Args:
        source: the input, a folder or a file.
        paths: the files of the folder, or the file itself.
        target: the output, a folder or a file.

    Returns:
        A path for each file. Copies keep their places and names in the folder; .mp4 or .png is appended to
        names with another ending.

    Raises:
        InputError: a copy would overwrite its source or lie among the inputs, or ``target`` has the wrong
            ending.
    """
    if target.resolve().is_relative_to(source.resolve()):
        raise InputError(f"--output {target}: lies inside the input {source}; choose another folder")
    copies = []
    for path in paths:
        ending = ".png" if path.suffix.lower() in IMAGE_ENDINGS else ".mp4"
        if path == source:
            if target.suffix.lower() != ending:
                raise InputError(f"--output {target}: must end in {ending} for the input {source}")
            return [target]
        name = path.name if path.suffix.lower() == ending else path.name + ending
        copies.append(target / path.relative_to(source).with_name(name))
    return copies


def draw_labels(frame: np.ndarray, labels: Sequence[Label]) -> np.ndarray:
    """A copy of a frame, uint8 [H, W, 3], with a panel at the bottom: a row and a bar for each label.

    The size of the text follows the frame's. Long names are shortened, and rows that do not fit are dropped.
    Pillow's built-in font covers English letters only; others become boxes.
    """
    height, width = frame.shape[:2]
    size = max(MIN_TEXT, round(TEXT_SHARE * min(height, width)))
    font = ImageFont.load_default(size)
    margin, padding, row = size // 2, max(2, size // 4), round(1.4 * size)
    panel_width = min(width - 2 * margin, MAX_WIDTH * size)
    fitting = labels[: max(0, (height - 2 * margin - 2 * padding) // row)]
    panel_height = 2 * padding + row * len(fitting)
    if not fitting or panel_width < 4 * size:
        return frame
    top = height - margin - panel_height
    area = (slice(top, top + panel_height), slice(margin, margin + panel_width))
    below = Image.fromarray(frame[area])
    panel = Image.blend(below, Image.new("RGB", below.size, BACKGROUND), OPACITY)
    draw = ImageDraw.Draw(panel)
    for i, (name, probability) in enumerate(fitting):
        y = padding + i * row
        length = round((panel_width - 2 * padding) * probability)
        if length:
            draw.rectangle((padding, y + 1, padding + length - 1, y + row - 2), fill=BAR)
        middle, right = y + row // 2, panel_width - 2 * padding
        room = right - 3 * padding - font.getlength("100%")
        draw.text((2 * padding, middle), shorten(name, room, font), TEXT, font, anchor="lm")
        draw.text((right, middle), f"{probability:.0%}", TEXT, font, anchor="rm")
    drawn = frame.copy()
    drawn[area] = np.asarray(panel)
    return drawn


def shorten(name: str, room: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Cuts a name to at most ``room`` pixels, ending in an ellipsis if anything was cut."""
    if font.getlength(name) <= room:
        return name
    for end in range(len(name) - 1, 0, -1):
        short = name[:end].rstrip() + "…"
        if font.getlength(short) <= room:
            return short
    return "…"
