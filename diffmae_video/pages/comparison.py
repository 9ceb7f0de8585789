"""The page of a comparison: its table and plot, and what each system fills in and makes up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diffmae_video.errors import require
from diffmae_video.files import new_folder, write_text
from diffmae_video.inpainting.side_by_side import SideBySide
from diffmae_video.pages.gallery import FPS
from diffmae_video.studies.tables import inits_of, percent, table_cells, title_of

TITLES = {
    "center": ("Centre mask", "The central half of the height and of the width is hidden."),
    "lower": ("Lower half", "The lower half is hidden: what iGPT, which reads row by row, can complete."),
}
SAMPLE_COLUMNS = 8  # of the picture of a system's samples


def write_comparison(
    output: Path,
    result: dict[str, Any],
    shown: Mapping[str, Sequence[SideBySide]],
    made: Mapping[str, np.ndarray],
) -> Path:
    """Writes ``index.html`` and ``media/`` beside plot.png, and returns the page.

    Args:
        output: the folder; it has the plot.
        result: of :func:`~diffmae_video.studies.budget.compare`.
        shown, made: see :mod:`diffmae_video.inpainting.side_by_side`.

    Raises:
        MissingExtraError: jinja2 is not installed.
        OSError: the folder cannot be written to, or the disk is full.
    """
    jinja2 = require("jinja2", "gallery")
    systems = [name for name in inits_of(result) if name in result["costs"]]
    sections, samples = [], []
    with new_folder(output / "media") as media:
        for task, rows in shown.items():
            title, text = TITLES[task]
            cells: list[list[tuple[str, str, str]]] = []
            for number, row in enumerate(rows):
                clips = {"truth": (row.truth, ""), "masked input": (row.given, "")}
                clips |= {title_of(s): (row.fills[s], f"{row.psnr[s]:.1f} dB") for s in systems}
                cells.append([])
                for place, (name, (frames, caption)) in enumerate(clips.items()):
                    link = f"{task}-{number}-{place}.webp"
                    write_picture(media / link, frames)
                    cells[-1].append((f"media/{link}", name, caption))
            sections.append({"task": task, "title": title, "text": text, "rows": cells})
        for system in (s for s in systems if s in made):
            write_picture(media / f"samples-{system}.webp", tile(made[system]))
            samples.append((f"media/samples-{system}.webp", title_of(system), len(made[system])))
    columns, table = table_cells(result)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("diffmae_video", "pages"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("comparison.html").render(
        result=result,
        columns=columns,
        table=[(title_of(init), [percent(values) for values in cells]) for init, cells in table.items()],
        costs=[(title_of(system), result["costs"][system]) for system in systems],
        sections=sections,
        samples=samples,
    )
    write_text(output / "index.html", page)
    return output / "index.html"


def tile(clips: np.ndarray) -> np.ndarray:
    """Clips uint8 [B, T, H, W, 3] side by side and below each other: [T, lines * H, 8 * W, 3]."""
    count, frames, height, width = clips.shape[:4]
    lines = -(-count // SAMPLE_COLUMNS)
    tiles = np.full((lines * SAMPLE_COLUMNS, *clips.shape[1:]), 127, np.uint8)
    tiles[:count] = clips
    tiles = tiles.reshape(lines, SAMPLE_COLUMNS, frames, height, width, 3).transpose(2, 0, 3, 1, 4, 5)
    return tiles.reshape(frames, lines * height, SAMPLE_COLUMNS * width, 3)


def write_picture(path: Path, frames: np.ndarray) -> None:
    """Frames uint8 [T, H, W, 3] as a lossless WebP, which loops if there are several."""
    first, *others = (Image.fromarray(frame) for frame in frames)
    several: dict[str, Any] = {"save_all": True, "append_images": others, "duration": 1000 // FPS, "loop": 0}
    first.save(path, "WEBP", lossless=True, **(several if others else {}))
