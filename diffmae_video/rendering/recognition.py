"""A recognition study as a table and a plot, with every seed in both."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from diffmae_video.errors import require
from diffmae_video.files import atomic_path

NAMES = {"scratch": "from scratch", "mae": "MAE", "diffmae": "DiffMAE"}
COLOURS = {"scratch": "#777777", "mae": "#c2571a", "diffmae": "#1f6fb4"}


def percent(values: Iterable[float]) -> str:
    """Shares as a percentage: the mean, and of several the standard deviation and each value."""
    shares = [100 * value for value in values]
    if len(shares) == 1:
        return f"{shares[0]:.1f}"
    each = ", ".join(f"{x:.1f}" for x in shares)
    return f"{statistics.mean(shares):.1f} ± {statistics.stdev(shares):.1f} ({each})"


def final_runs(result: dict[str, Any], init: str, labels: str) -> list[float]:
    """Top-1 of each seed after the whole pre-training."""
    runs = [run for run in result["runs"] if (run["init"], run["labels"]) == (init, labels)]
    longest = max(run["pretraining_steps"] for run in runs)
    return [run["top1"] for run in runs if run["pretraining_steps"] == longest]


def final_probes(result: dict[str, Any], init: str) -> list[float]:
    """The linear probe of each seed after the whole pre-training; from scratch, of random weights."""
    probes = [probe for probe in result["probes"] if probe["init"] == init]
    longest = max(probe["pretraining_steps"] for probe in probes)
    return [probe["linear"] for probe in probes if probe["pretraining_steps"] == longest]


def study_table(result: dict[str, Any]) -> str:
    """Markdown: top-1 in percent by init and share of the labels, mean ± deviation and every seed."""
    few, whole = result["labels"]["few"], result["labels"]["all"]
    lines = [
        f"Top-1 in % on {result['val']} held-out samples of {result['classes']} classes "
        f"(chance {100 / result['classes']:.1f}):",
        "",
        f"| pre-training | fine-tuned, {few:,} labels | fine-tuned, {whole:,} labels | linear probe |",
        "|---|---|---|---|",
    ]
    for init, name in NAMES.items():
        runs = [final_runs(result, init, labels) for labels in ("few", "all")]
        cells = [percent(values) for values in (*runs, final_probes(result, init))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    motion = result.get("motion")
    if motion:
        names = {
            "as_it_is": "clips as they are",
            "shuffled": "frames shuffled",
            "shuffled_ordered": "of these, all but `shake` and `still`, which stay what they are",
            "one_frame_repeated": "one frame repeated",
            "one_frame_model": "a model of one frame, trained for it",
        }
        lines += ["", "| DiffMAE with all labels, on | top-1 |", "|---|---|"]
        lines += [f"| {name} | {percent(row[key] for row in motion)} |" for key, name in names.items()]
    return "\n".join(lines) + "\n"


def plot_study(result: dict[str, Any], path: Path) -> None:
    """Left: top-1 by init and share of the labels. Right: over the length of pre-training, few labels.

    Dots are seeds, lines and bars their means. Written as PNG.
    """
    require("matplotlib", "demo")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    bars, curve = figure.subplots(1, 2)
    chance, few = 100 / result["classes"], f"{result['labels']['few']:,}"
    for i, init in enumerate(NAMES):
        for j, labels in enumerate(("few", "all")):
            values = [100 * x for x in final_runs(result, init, labels)]
            place = j * 4 + i
            label = NAMES[init] if j == 0 else None
            bars.bar(place, statistics.mean(values), color=COLOURS[init], alpha=0.55, label=label)
            bars.plot([place] * len(values), values, "o", color=COLOURS[init], markeredgecolor="white")
            bars.annotate(f"{statistics.mean(values):.1f}", (place, 1), ha="center", fontsize=9)
    bars.set_xticks([1, 5], [f"{result['labels'][labels]:,} labels" for labels in ("few", "all")])
    bars.set_ylabel("top-1, %")
    bars.set_title("Fine-tuned")
    for init in ("mae", "diffmae"):
        for rows, key, style, name in (
            (result["runs"], "top1", "-", f"fine-tuned, {few} labels"),
            (result["probes"], "linear", ":", "linear probe, all labels"),
        ):
            points: dict[int, list[float]] = {}
            if key == "top1" and init == "mae":  # its curve was not run
                continue
            for row in rows:
                if row["init"] == init and row.get("labels", "few") == "few":
                    points.setdefault(row["pretraining_steps"], []).append(100 * row[key])
            if key == "top1":
                points[0] = [100 * x for x in final_runs(result, "scratch", "few")]
            steps = sorted(points)
            means = [statistics.mean(points[step]) for step in steps]
            curve.plot(steps, means, style, color=COLOURS[init], label=f"{NAMES[init]}, {name}")
            for step in steps:
                dots = points[step]
                curve.plot([step] * len(dots), dots, ".", color=COLOURS[init], alpha=0.6)
    curve.set_xlabel("steps of pre-training (0: from scratch)")
    curve.set_title("Length of pre-training (seed 0; its end: all seeds)")
    for axes in (bars, curve):
        axes.axhline(chance, color="black", linewidth=0.8, linestyle="--")
        axes.set_ylim(0, 100)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    with atomic_path(path) as aside:
        figure.savefig(aside, dpi=130, format="png")
