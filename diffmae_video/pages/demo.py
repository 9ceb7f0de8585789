"""The demo's table, plot of the loss, films and page."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffmae_video.encoding.clips import panels, write_video
from diffmae_video.errors import require
from diffmae_video.files import atomic_path, write_text
from diffmae_video.inpainting.examples import Example
from diffmae_video.inpainting.loss_curve import LossCurve
from diffmae_video.pages.gallery import FPS, write_gallery

PANEL_HEIGHT = 128
ROWS = (
    ("mean of the visible pixels (PSNR)", "mean_fill_psnr"),
    ("nearest visible patch (PSNR)", "nearest_fill_psnr"),
    ("linear interpolation in time (PSNR)", "interpolation_psnr"),
    ("first prediction, t = T (PSNR)", "first_prediction_psnr"),
    ("sample (PSNR)", "sample_psnr"),
    ("mean of 8 samples (PSNR)", "posterior_mean_psnr"),
    ("standard deviation", "sample_std_ratio"),
    ("frame-to-frame difference", "sample_motion_ratio"),
    ("gradient energy", "sample_gradient_ratio"),
    ("MAE (PSNR)", "mae_psnr"),
    ("gradient energy of MAE", "mae_gradient_ratio"),
)


def write_demo_page(
    output: Path,
    metrics: dict[str, Any],
    losses: Sequence[float],
    examples: Iterable[Example],
    count: int,
    curve: LossCurve,
) -> Path:
    """Writes metrics.json, loss.png, each example as mp4 and GIF, and the page, whose path it returns.

    Args:
        output: the demo's folder.
        metrics: of the demo, see :func:`~diffmae_video.studies.demo.make_demo`.
        losses: DiffMAE's training loss at each step.
        examples, count, curve: see :func:`~diffmae_video.pages.gallery.write_gallery`.

    Raises:
        MissingExtraError: matplotlib or jinja2 is not installed.
        OSError: the folder cannot be written, or the disk is full.
    """
    write_text(output / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    plot_losses(output / "loss.png", losses)
    columns, rows = format_rows(metrics)
    return write_gallery(
        output,
        _with_films(output, examples),
        count,
        curve,
        template="demo.html",
        metrics=metrics,
        columns=columns,
        rows=rows,
        film=_film_facts(metrics["film"]),
        first_loss=f"{losses[0]:.2f}",
        last_loss=f"{losses[-1]:.2f}",
    )


def _film_facts(film: dict[str, Any] | None) -> dict[str, str] | None:
    """What the page says about the film, None without one."""
    if film is None:
        return None
    fills = film["estimate"]["fills"]
    opencv = max(row["psnr"] for name, row in fills.items() if name.startswith("OpenCV"))
    return {
        "hidden": f"{film['hidden_share']:.0%}",
        "psnr": f"{fills[film['fill']]['psnr']:.1f}",
        "opencv": f"{opencv:.1f}",
        "seconds": f"{film['seconds']:.0f}",
    }


def format_rows(metrics: dict[str, Any]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The metrics as column titles and rows (title, cells) of a table."""
    sets = {"all held-out": metrics, **metrics["parts"]}
    return list(sets), [(title, [f"{values[key]:.2f}" for values in sets.values()]) for title, key in ROWS]


def results_table(metrics: dict[str, Any]) -> str:
    """The metrics as a plain text table."""
    columns, rows = format_rows(metrics)
    widths = [max(len(column), 8) for column in columns]
    first = max(len(title) for title, _ in rows)
    lines = []
    for title, cells in [("", columns), *rows]:
        padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        lines.append("  ".join([title.ljust(first), *padded]))
    for name, prefix in (("DiffMAE", ""), ("MAE", "mae_")):
        clips, seconds = metrics[f"{prefix}clips_seen"], metrics[f"{prefix}train_seconds"]
        lines.append(f"{name}: trained on {clips} clips in {seconds:.0f} s")
    lines.append(f"peak memory {metrics['peak_rss_mb']} MB")
    return "\n".join(lines)


def plot_losses(path: Path, losses: Sequence[float]) -> None:
    """Plots the loss of each step and its running mean, as PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    require("matplotlib", "demo")
    from matplotlib.figure import Figure

    values = torch.tensor(losses)
    window = max(1, len(values) // 30)
    means = values.unfold(0, window, 1).mean(1)
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(1, len(values) + 1), values, color="#9bb8d3", linewidth=0.8, label="each step")
    axes.plot(range(window, len(values) + 1), means, color="#1f4e79", label=f"mean of {window} steps")
    axes.set(xlabel="step", ylabel="loss (normalised pixels, squared)", ylim=(0, None))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as aside:
        figure.savefig(aside, dpi=150)


def _with_films(output: Path, examples: Iterable[Example]) -> Iterator[Example]:
    """Writes each example as mp4 and GIF before passing it on."""
    for number, example in enumerate(examples):
        frames = panels(*example_panels(example), height=PANEL_HEIGHT)
        for ending in ("mp4", "gif"):
            write_video(output / f"example-{number}.{ending}", frames, FPS)
        yield example


def example_panels(example: Example) -> tuple[list[Tensor], list[str]]:
    """Clips [3, T, H, W] in [0, 1] and their titles: truth, masked input, x0 at several t, sample, MAE.

    Masked patches show noise like that which sampling starts from, with the spread of pixels.
    """
    noise = np.random.default_rng(0).normal(128, 64, example.truth.shape).clip(0, 255).astype(np.uint8)
    predictions = example.samples[0].frames
    steps = [0, len(predictions) // 3, 2 * len(predictions) // 3]
    clips = {
        "truth": example.truth,
        "masked + noise": np.where(example.masked[..., None], noise, example.truth),
        **{f"x0 at t = {example.timesteps[i]}": predictions[i] for i in steps},
        f"sample, {len(predictions)} steps": predictions[-1],
    }
    if example.mae is not None:
        clips["MAE"] = example.mae.frames[0]
    return [torch.from_numpy(x).movedim(-1, 0).float() / 255 for x in clips.values()], list(clips)
