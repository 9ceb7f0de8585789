"""The demo's pictures, clips and page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffmae_video.encoding.clips import panels, write_video
from diffmae_video.errors import require
from diffmae_video.files import atomic_path, write_text
from diffmae_video.inpainting.examples import Example, LossCurve
from diffmae_video.pages.gallery import FPS, write_gallery

PANEL_HEIGHT = 128
ROWS = (
    ("mean of the visible pixels (PSNR)", "mean_fill_psnr"),
    ("nearest visible patch (PSNR)", "nearest_fill_psnr"),
    ("linear interpolation in time (PSNR)", "interpolation_psnr"),
    ("first prediction, t = T (PSNR)", "first_prediction_psnr"),
    ("sample (PSNR)", "sample_psnr"),
    ("standard deviation", "sample_std_ratio"),
    ("frame-to-frame difference", "sample_motion_ratio"),
    ("gradient energy", "sample_gradient_ratio"),
    ("MAE (PSNR)", "mae_psnr"),
    ("gradient energy of MAE", "mae_gradient_ratio"),
)


def example_panels(example: Example) -> tuple[list[Tensor], list[str]]:
    """Truth | masked input | x0 predictions at several t | sample | MAE, with titles.

    Masked patches show the noise that sampling starts from, at the spread of pixels.
    """
    noise = np.random.default_rng(0).normal(128, 64, example.truth.shape).clip(0, 255).astype(np.uint8)
    predictions = example.samples[0].frames
    shown = [0, len(predictions) // 3, 2 * len(predictions) // 3]
    clips = {
        "truth": example.truth,
        "masked + noise": np.where(example.masked[..., None], noise, example.truth),
        **{f"x0 at t = {example.timesteps[i]}": predictions[i] for i in shown},
        f"sample, {len(predictions)} steps": predictions[-1],
    }
    if example.mae is not None:
        clips["MAE"] = example.mae.frames[0]
    return [torch.from_numpy(x).movedim(-1, 0).float() / 255 for x in clips.values()], list(clips)


def format_rows(metrics: dict[str, Any]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The metrics as columns and rows of a table."""
    sets = {"all held-out": metrics, **metrics["parts"]}
    return list(sets), [(label, [f"{values[key]:.2f}" for values in sets.values()]) for label, key in ROWS]


def results_table(metrics: dict[str, Any]) -> str:
    """The metrics as a plain text table."""
    columns, rows = format_rows(metrics)
    widths = [max(len(c), 8) for c in columns]
    first = max(len(label) for label, _ in rows)
    lines = ["  ".join([" " * first, *(c.rjust(w) for c, w in zip(columns, widths, strict=True))])]
    for label, values in rows:
        lines.append(
            "  ".join([label.ljust(first), *(v.rjust(w) for v, w in zip(values, widths, strict=True))])
        )
    for name, prefix in (("DiffMAE", ""), ("MAE", "mae_")):
        clips, seconds = metrics[f"{prefix}clips_seen"], metrics[f"{prefix}train_seconds"]
        lines.append(f"{name}: trained on {clips} clips in {seconds:.0f} s")
    lines.append(f"peak memory {metrics['peak_rss_mb']} MB")
    return "\n".join(lines)


def draw_losses(path: Path, steps: list[dict[str, Any]]) -> None:
    """Plots the loss of each step and its running mean."""
    require("matplotlib", "demo")
    from matplotlib.figure import Figure

    losses = torch.tensor([row["loss"] for row in steps])
    window = max(1, len(losses) // 30)
    smooth = losses.unfold(0, window, 1).mean(1)
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(1, len(losses) + 1), losses, color="#9bb8d3", linewidth=0.8, label="each step")
    axes.plot(range(window, len(losses) + 1), smooth, color="#1f4e79", label=f"mean of {window} steps")
    axes.set(xlabel="step", ylabel="loss (normalised pixels, squared)", ylim=(0, None))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as aside:
        figure.savefig(aside, dpi=150)


def render_demo(
    output: Path,
    metrics: dict[str, Any],
    steps: list[dict[str, Any]],
    examples: Iterable[Example],
    count: int,
    curve: LossCurve,
) -> Path:
    """Writes metrics.json, loss.png, each example as mp4 and GIF, and the gallery; returns its page."""
    write_text(output / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    draw_losses(output / "loss.png", steps)
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
        first_loss=f"{steps[0]['loss']:.2f}",
        last_loss=f"{steps[-1]['loss']:.2f}",
    )


def _with_films(output: Path, examples: Iterable[Example]) -> Iterator[Example]:
    """The examples, each written as mp4 and GIF on its way."""
    for number, example in enumerate(examples):
        frames = panels(*example_panels(example), height=PANEL_HEIGHT)
        for ending in ("mp4", "gif"):
            write_video(output / f"example-{number}.{ending}", frames, FPS)
        yield example
