"""Writes the scores of fills on held-out clips as Markdown tables, CSV, JSON and a plot."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from diffmae_video.errors import require
from diffmae_video.files import atomic_path, write_text
from diffmae_video.inpainting.tasks import TASKS

FILLS = {
    "mean": "mean of the visible pixels",
    "nearest": "nearest visible patch",
    "interpolation": "linear in time",
    "mae": "MAE",
    "diffmae": "DiffMAE",
    "posterior_mean": "mean of DiffMAE's samples",
}
COLOURS = {
    "mean": "#999999",
    "nearest": "#555555",
    "interpolation": "#6a9f58",
    "mae": "#c2571a",
    "diffmae": "#1f6fb4",
    "posterior_mean": "#7aa6d1",
}
# Name, title and number format.
METRICS = (
    ("psnr", "PSNR, dB", ".2f"),
    ("ssim", "SSIM", ".3f"),
    ("lpips", "LPIPS", ".3f"),
    ("flicker", "flicker", ".2f"),
    ("gradient", "gradient energy", ".2f"),
    ("spectrum", "spectrum, dB", ".2f"),
)
RATIOS = ("flicker_masked", "gradient_masked")  # to the truth's
NOTE = """\
Pairs of numbers are over the masked pixels / over all pixels, where visible ones are the truth's. Higher is
better for PSNR and SSIM; lower is better for LPIPS, the spectrum (mean distance of the radial power spectra
of masked patches / whole frames) and the Fréchet distance. Flicker (frame-to-frame difference) and gradient
energy are ratios to the truth's: 1 is right; below 1 a fill is frozen or blurred, above 1 it flickers or is
noisy.
"""


def write_report(result: dict[str, Any], output: Path) -> str:
    """Writes results.md, .csv, .json and .png for a result of ``evaluate_inpainting``; returns the Markdown.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    text = format_tables(result)
    write_text(output / "results.md", text)
    write_text(output / "results.json", json.dumps(result, indent=2) + "\n")
    table = io.StringIO()
    writer = csv.DictWriter(table, list(result["rows"][0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(result["rows"])
    write_text(output / "results.csv", table.getvalue())
    plot_steps(result, output / "results.png")
    return text


def format_tables(result: dict[str, Any]) -> str:
    """One Markdown table for each task, with a row for each fill and a column for each metric."""
    frames, height, width = result["size"]
    lines = [f"{result['clips']} held-out clips of {frames} x {height} x {width}, seed {result['seed']}."]
    lines += ["", NOTE]
    first = result["rows"][0]
    metrics = [metric for metric in METRICS if f"{metric[0]}_masked" in first]
    titles = [title for _, title, _ in metrics]
    if "frechet" in first:
        titles.append("Fréchet distance")
    for task in dict.fromkeys(row["task"] for row in result["rows"]):
        lines += [
            f"### {TASKS[task].title}",
            "",
            f"| fill | {' | '.join(titles)} |",
            "|---" * (len(titles) + 1) + "|",
        ]
        for row in result["rows"]:
            if row["task"] == task:
                cells = [
                    f"{_number(row[f'{name}_masked'], form)} / {_number(row[f'{name}_whole'], form)}"
                    for name, _, form in metrics
                ]
                if "frechet" in first:
                    cells.append(_number(row["frechet"], ".3g"))
                lines.append(f"| {_fill_title(row)} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _fill_title(row: dict[str, Any]) -> str:
    steps = row["steps"]
    return FILLS[row["fill"]] + (f", {steps} step{'s' * (steps > 1)}" if steps else "")


def plot_steps(result: dict[str, Any], path: Path) -> None:
    """Plots the scores of masked pixels over the number of sampling steps, as PNG.

    There is a column for each task and a row for each metric; fills without steps are horizontal lines.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", "metrics")
    from matplotlib.figure import Figure

    rows = result["rows"]
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    metrics = [(f"{name}_masked", title) for name, title, _ in METRICS if f"{name}_masked" in rows[0]]
    if "frechet" in rows[0]:
        metrics.append(("frechet", "Fréchet (whole)"))
    steps = sorted({row["steps"] for row in rows if row["steps"]}) or [1]
    figure = Figure(figsize=(1.5 + 2.4 * len(tasks), 0.9 + 1.7 * len(metrics)), layout="constrained")
    grid = figure.subplots(len(metrics), len(tasks), sharex=True, sharey="row", squeeze=False)
    for line, (metric, title) in zip(grid, metrics, strict=True):
        for axes, task in zip(line, tasks, strict=True):
            _plot_fills(axes, [row for row in rows if row["task"] == task], metric)
            axes.set_xscale("log")
            axes.set_xticks(steps, [str(n) for n in steps])
            axes.minorticks_off()
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", color="#e5e5e5", linewidth=0.6)
        line[0].set_ylabel(title)
    for axes, task in zip(grid[0], tasks, strict=True):
        axes.set_title(TASKS[task].title, fontsize=10)
    for axes in grid[-1]:
        axes.set_xlabel("steps")
    figure.suptitle("Masked pixels (dotted: the truth)", fontsize=11)
    handles, names = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(tasks), frameon=False, fontsize=9)
    with atomic_path(path) as aside:
        figure.savefig(aside, dpi=130)


def _plot_fills(axes: Any, rows: list[dict[str, Any]], metric: str) -> None:
    """Draws one metric of one task."""
    for fill, name in FILLS.items():
        points = [(row["steps"], row[metric]) for row in rows if row["fill"] == fill]
        points = [point for point in points if point[1] is not None]
        if points and points[0][0]:
            axes.plot(*zip(*points, strict=True), "o-", color=COLOURS[fill], label=name, markersize=4)
        elif points:
            axes.axhline(points[0][1], color=COLOURS[fill], label=name, linestyle="--", linewidth=1.2)
    if metric in RATIOS:
        axes.axhline(1, color="black", linestyle=":", linewidth=0.8)
