"""The page of a comparison: its table and plot, what each system fills in, and what it makes up."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diffmae_video.inpainting.side_by_side import SideBySide
from diffmae_video.pages.gallery import FPS
from diffmae_video.pages.page_folder import write_page

TASKS = {
    "center": ("Centre mask", "The central half of the height and of the width is hidden."),
    "lower": ("Lower half", "The lower half is hidden: a task that iGPT, which reads row by row, can do."),
}
TILE_COLUMNS = 8  # in the picture of a system's samples


def write_comparison(
    output: Path,
    result: Mapping[str, Any],
    columns: Sequence[str],
    rows: Sequence[tuple[str, Sequence[str]]],
    titles: Mapping[str, str],
    fills: Mapping[str, Sequence[SideBySide]],
    samples: Mapping[str, np.ndarray],
) -> Path:
    """Writes ``index.html`` and ``media/`` beside plot.png, and returns the path of the page.

    Args:
        output: the folder, which has plot.png.
        result: ``study``, ``budget``, ``val``, ``classes`` and ``costs`` of a comparison.
        columns, rows: the table of accuracies: column titles, and for each row its title and cells.
        titles: by system, its name as written; also the order in which systems are shown.
        fills: by task of ``TASKS``, held-out clips that each system filled.
        samples: by system, clips uint8 [B, T, H, W, 3] that it made up.

    Raises:
        MissingExtraError: jinja2 is not installed.
        OSError: the folder cannot be written, or the disk is full.
    """

    def write_media(media: Path) -> dict[str, Any]:
        return {
            "result": result,
            "columns": columns,
            "table": rows,
            "costs": [(title, result["costs"][system]) for system, title in titles.items()],
            "sections": [_write_fills(media, task, clips, titles) for task, clips in fills.items()],
            "samples": [
                _write_samples(media, system, title, samples[system])
                for system, title in titles.items()
                if system in samples
            ],
        }

    return write_page(output, "comparison.html", write_media)


def _write_fills(
    media: Path, task: str, clips: Sequence[SideBySide], titles: Mapping[str, str]
) -> dict[str, Any]:
    """Writes the pictures of a task and returns its section: for each clip, (link, title, caption) cells."""
    title, text = TASKS[task]
    rows: list[list[tuple[str, str, str]]] = []
    for number, clip in enumerate(clips):
        cells = {"truth": (clip.truth, ""), "masked input": (clip.given, "")}
        cells |= {name: (clip.fills[s], f"{clip.psnr[s]:.1f} dB") for s, name in titles.items()}
        rows.append([])
        for place, (name, (frames, caption)) in enumerate(cells.items()):
            file = f"{task}-{number}-{place}.webp"
            write_picture(media / file, frames)
            rows[-1].append((f"media/{file}", name, caption))
    return {"task": task, "title": title, "text": text, "rows": rows}


def _write_samples(media: Path, system: str, title: str, clips: np.ndarray) -> tuple[str, str, int]:
    file = f"samples-{system}.webp"
    write_picture(media / file, tile(clips))
    return f"media/{file}", title, len(clips)


def tile(clips: np.ndarray) -> np.ndarray:
    """Arranges clips uint8 [B, T, H, W, 3] in rows of 8: uint8 [T, rows * H, 8 * W, 3]."""
    count, frames, height, width = clips.shape[:4]
    rows = -(-count // TILE_COLUMNS)
    tiles = np.full((rows * TILE_COLUMNS, *clips.shape[1:]), 127, np.uint8)
    tiles[:count] = clips
    tiles = tiles.reshape(rows, TILE_COLUMNS, frames, height, width, 3).transpose(2, 0, 3, 1, 4, 5)
    return tiles.reshape(frames, rows * height, TILE_COLUMNS * width, 3)


def write_picture(path: Path, frames: np.ndarray) -> None:
    """Writes frames uint8 [T, H, W, 3] as a lossless WebP; several frames loop."""
    first, *others = (Image.fromarray(frame) for frame in frames)
    animation: dict[str, Any] = {
        "save_all": True,
        "append_images": others,
        "duration": 1000 // FPS,
        "loop": 0,
    }
    first.save(path, "WEBP", lossless=True, **(animation if others else {}))
