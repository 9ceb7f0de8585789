"""The gallery: a page that shows inpainted examples step by step.

Each clip is a sheet: its frames tiled in one WebP picture, which the page's script draws frame by frame.
Every step of every sample has its own sheet, so the page can show any of them at once.
"""

import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diffmae_video.errors import require
from diffmae_video.inpainting.examples import Example, Fill, count_examples, inpaint_examples, read_sources
from diffmae_video.inpainting.loss_curve import LossCurve, loss_by_timestep
from diffmae_video.inpainting.model_pair import load_pair
from diffmae_video.pages.page_folder import write_page
from diffmae_video.pages.plain_words import detail_in_words, error_in_words
from diffmae_video.runtime.progress import ProgressBar

FPS = 6  # slowed down: sixteen frames are half a second of film
PAGE_BYTES = 28e6  # for all sheets of a page, shared equally by its examples
# WebP quality (100: lossless) and scale; the first that fits is used, or else the last. WebP halves the
# resolution of colour, which loses nothing at twice the size. Our choice.
LADDER = ((100, 1), (90, 2), (90, 1), (75, 1), (55, 1), (55, 0.5), (35, 0.5), (35, 0.25))
CRISP_WIDTH = 128  # of clips whose pixels are shown as squares, unless the reader chooses otherwise
SECTIONS = {
    "random75": ("Random mask", "Three quarters of the patches are hidden, drawn at random."),
    "center": ("Centre mask", "The central half of the height and of the width is hidden."),
    "random90": ("Video", "90 % of the patches of a clip are hidden, different ones at each time step."),
    "future": ("Prediction of the future", "The second half of the frames is hidden."),
}


def make_gallery(
    checkpoint: Path, mae: Path | None, inputs: Sequence[str | Path], output: Path, precision: str
) -> Path:
    """Inpaints videos and pictures and writes the page that diffmae gallery describes; returns its path.

    Args:
        checkpoint: folder of a DiffMAE.
        mae: folder of an MAE for the same clips and patches, or None.
        inputs: videos and pictures.
        output: the folder to write.
        precision: of the weights, see :func:`~diffmae_video.runtime.device.sampling_dtype`.

    Raises:
        InputError: a folder or a file cannot be read, or the models take different clips.
        MissingExtraError: jinja2 or diffusers is not installed.
        OSError: the folder cannot be written, or the disk is full.
    """
    for module in ("jinja2", "diffusers"):  # fail before the work
        require(module, "gallery")
    model, other = load_pair(checkpoint, mae, precision)
    sources = read_sources(inputs, checkpoint, model)
    output.mkdir(parents=True, exist_ok=True)
    examples, curve = inpaint_examples(model, other, sources), loss_by_timestep(model, other, sources)
    return write_gallery(output, examples, count_examples(model, sources), curve)


def write_gallery(
    output: Path,
    examples: Iterable[Example],
    count: int,
    curve: LossCurve,
    template: str = "gallery.html",
    **variables: Any,
) -> Path:
    """Writes ``index.html`` and ``media/`` into a folder and returns the path of the page.

    An earlier gallery stays intact until the new one is complete.

    Args:
        output: the folder.
        examples: taken one at a time, so that the sheets of only one are in memory.
        count: the number of examples.
        curve: the loss by timestep.
        template, variables: a template that extends gallery.html, and its own variables.

    Raises:
        MissingExtraError: jinja2 is not installed.
        OSError: the folder cannot be written, or the disk is full.
    """

    def write_media(media: Path) -> dict[str, Any]:
        bar = ProgressBar(examples, total=count, desc="inpainting", unit=" examples")
        rows = [
            {"number": number, **_write_example(media, number, example, PAGE_BYTES / count)}
            for number, example in enumerate(bar)
        ]
        sections = [
            {"task": task, "title": title, "text": text, "rows": [row for row in rows if row["task"] == task]}
            for task, (title, text) in SECTIONS.items()
            if any(row["task"] == task for row in rows)
        ]
        page = {
            "sections": sections,
            "data": [row["data"] for row in rows],
            "curve": draw_curve(curve),
            "fps": FPS,
            "pixels": "crisp" if min(row["width"] for row in rows) <= CRISP_WIDTH else "smooth",
        }
        return {**page, **variables}

    return write_page(output, template, write_media)


def _write_example(media: Path, number: int, example: Example, most: float) -> dict[str, Any]:
    """Writes the sheets of an example, within ``most`` bytes if possible, and returns what the page needs."""
    count, height, width = example.truth.shape[:3]
    clips = {"truth": example.truth, "masked": example.given}
    for n, sample in enumerate(example.samples):
        clips |= {f"sample{n}-{step}": frames for step, frames in enumerate(sample.frames)}
    if example.mae is not None:
        clips["mae"] = example.mae.frames[0]
    # Only the two clips with most detail are tried; they stand for the others.
    tried = (example.truth, example.samples[0].frames[-1])
    for quality, scale in LADDER:
        if max(len(encode_sheet(x, quality, scale)) for x in tried) * len(clips) <= most:
            break
    for name, frames in clips.items():
        (media / f"{number:02d}-{name}.webp").write_bytes(encode_sheet(frames, quality, scale))

    def link(name: str) -> str:
        return f"media/{number:02d}-{name}.webp"  # free of the user's file names

    steps = len(example.timesteps)
    return {
        "task": example.task,
        "name": example.name,
        "is_clip": count > 1,
        "has_mae": example.mae is not None,
        "width": width,
        "height": height,
        "facts": f"{example.masked.mean():.0%} hidden · {f'{count} frames of ' if count > 1 else ''}"
        f"{height} × {width}",
        "mean": _caption_of_simple_fills(example),
        "mae": None if example.mae is None else _caption(example.mae, 0),
        "samples": len(example.samples),
        "steps": steps,
        "data": {
            "frames": count,
            # The first frame with a hole: where clips do not play, it shows what was filled in.
            "start": int(example.masked.any((1, 2)).argmax()),
            "columns": sheet_columns(count),
            "truth": link("truth"),
            "masked": link("masked"),
            "mae": link("mae") if example.mae is not None else None,
            "places": [f"t = {t}, step {i + 1} of {steps}" for i, t in enumerate(example.timesteps)],
            "samples": [
                {
                    "sheets": [link(f"sample{n}-{step}") for step in range(steps)],
                    "captions": [_caption(sample, step) for step in range(steps)],
                }
                for n, sample in enumerate(example.samples)
            ],
        },
    }


def _caption_of_simple_fills(example: Example) -> str:
    text = f"mean of the visible pixels: {example.mean_psnr:.1f} dB"
    linear = example.interpolation_psnr
    return text if linear is None else f"{text} · linear in time: {linear:.1f} dB"


def _caption(fill: Fill, step: int) -> str:
    steps = f"{len(fill.psnr)} steps" if len(fill.psnr) > 1 else "1 pass"
    psnr, detail = fill.psnr[step], fill.gradient[step]
    return (
        f"PSNR {psnr:.1f} dB: {error_in_words(psnr)} · detail {detail:.2f}: {detail_in_words(detail)} · "
        f"{fill.seconds:.2f} s for {steps}"
    )


def sheet_columns(frames: int) -> int:
    """The number of frames in a row of a sheet, chosen so that sheets are about square."""
    return math.ceil(math.sqrt(frames))


def encode_sheet(frames: np.ndarray, quality: int, scale: float = 1) -> bytes:
    """Tiles frames uint8 [T, H, W, 3] row by row in one WebP picture. Quality 100 is lossless."""
    if scale != 1:
        size = [max(1, round(n * scale)) for n in (frames.shape[2], frames.shape[1])]
        resampling = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
        frames = np.stack([np.asarray(Image.fromarray(f).resize(size, resampling)) for f in frames])
    count, height, width = frames.shape[:3]
    columns = sheet_columns(count)
    rows = math.ceil(count / columns)
    sheet = np.zeros((rows * columns, height, width, 3), np.uint8)
    sheet[:count] = frames
    picture = sheet.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, -1, 3)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=quality, lossless=quality == 100)
    return buffer.getvalue()


def draw_curve(curve: LossCurve, width: int = 520, height: int = 260) -> dict[str, Any]:
    """The loss curve for the page: points and ticks in the drawing's units, a description, and a table."""
    left, right, top, bottom = 48, 24, 12, 44
    last, highest = curve.timesteps[-1], max([*curve.losses, curve.mae or 0])
    unit = _round_unit(highest / 4)

    def x(t: float) -> float:
        return round(left + (width - left - right) * (t - 1) / max(1, last - 1), 1)

    def y(loss: float) -> float:
        return round(height - bottom - (height - top - bottom) * loss / (1.08 * highest), 1)

    ticks = np.arange(0, 1.08 * highest, unit)
    text = (
        f"Loss by timestep: {curve.losses[0]:.3f} at t = {curve.timesteps[0]}, "
        f"{curve.losses[-1]:.3f} at t = {last}"
    )
    return {
        "width": width,
        "height": height,
        "left": left,
        "right": width - right,
        "bottom": height - bottom,
        "points": " ".join(f"{x(t)},{y(v)}" for t, v in zip(curve.timesteps, curve.losses, strict=True)),
        "x_ticks": [(x(t), t) for t in dict.fromkeys(max(1, round(last * i / 4)) for i in range(5))],
        "y_ticks": [(y(v), f"{v:.3g}") for v in ticks],
        "mae": None if curve.mae is None else y(curve.mae),
        "text": text + ("." if curve.mae is None else f"; MAE's is {curve.mae:.3f}."),
        "table": [(t, f"{v:.4f}") for t, v in zip(curve.timesteps, curve.losses, strict=True)],
    }


def _round_unit(value: float) -> float:
    """Rounds a value up to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(n * power for n in (1, 2, 5, 10) if n * power >= value * (1 - 1e-9))
