"""A recognition study as a table and a plot, with every seed in both."""

from __future__ import annotations

import csv
import io
import itertools
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from diffmae_video.errors import require
from diffmae_video.files import atomic_path

NAMES = {
    "scratch": "from scratch",
    "mae": "MAE",
    "igpt": "iGPT",
    "adm": "ADM (U-Net)",
    "ddpm": "DDPM (ViT)",
    "diffmae": "DiffMAE",
}
COLOURS = {
    "scratch": "#777777",
    "mae": "#c2571a",
    "igpt": "#7a4fa3",
    "adm": "#3a8a4d",
    "ddpm": "#b08a00",
    "diffmae": "#1f6fb4",
}
# For systems of one's own: matplotlib's, without its grey, which is scratch's, and its blue.
OWN_COLOURS = ("C1", "C2", "C3", "C4", "C5", "C6", "C8", "C9")
PROBES = {"linear": "linear probe", "attentive": "attentive probe", "knn": "k-NN"}


def title_of(init: str) -> str:
    """A system's name as it is written; that of a recipe of one's own is the recipe's."""
    return NAMES.get(init, init)


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


def final_probes(result: dict[str, Any], init: str, kind: str = "linear") -> list[float]:
    """A probe of each seed after the whole pre-training; from scratch, of random weights."""
    probes = [probe for probe in result["probes"] if probe["init"] == init]
    longest = max(probe["pretraining_steps"] for probe in probes)
    return [probe[kind] for probe in probes if probe["pretraining_steps"] == longest]


def inits_of(result: dict[str, Any]) -> list[str]:
    """What was fine-tuned from: in the order of NAMES, and behind these what has none there."""
    found = list(dict.fromkeys(run["init"] for run in result["runs"]))
    return [init for init in NAMES if init in found] + [init for init in found if init not in NAMES]


def probes_of(result: dict[str, Any]) -> list[str]:
    """The kinds of probes."""
    return [kind for kind in PROBES if kind in result["probes"][0]]


def table_cells(result: dict[str, Any]) -> tuple[list[str], dict[str, list[list[float]]]]:
    """Columns, and by init for each of them the shares of all seeds."""
    few, whole = result["labels"]["few"], result["labels"]["all"]
    kinds = probes_of(result)
    columns = [f"fine-tuned, {few:,} labels", f"fine-tuned, {whole:,} labels", *(PROBES[k] for k in kinds)]
    rows = {
        init: [
            *(final_runs(result, init, labels) for labels in ("few", "all")),
            *(final_probes(result, init, kind) for kind in kinds),
        ]
        for init in inits_of(result)
    }
    return columns, rows


def study_table(result: dict[str, Any]) -> str:
    """Markdown: top-1 in percent by init and share of the labels, mean ± deviation and every seed."""
    columns, rows = table_cells(result)
    lines = [
        f"Top-1 in % on {result['val']} held-out samples of {result['classes']} classes "
        f"(chance {100 / result['classes']:.1f}):",
        "",
        f"| pre-training | {' | '.join(columns)} |",
        "|---" * (1 + len(columns)) + "|",
    ]
    for init, cells in rows.items():
        lines.append(f"| {title_of(init)} | {' | '.join(percent(values) for values in cells)} |")
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


def summary(result: dict[str, Any]) -> dict[str, Any]:
    """The shares of all seeds by init and figure, and what frames in another order gave."""
    found: dict[str, Any] = {
        init: {
            **{share: final_runs(result, init, share) for share in ("few", "all")},
            **{kind: final_probes(result, init, kind) for kind in probes_of(result)},
        }
        for init in inits_of(result)
    }
    return found | ({"motion": result["motion"]} if "motion" in result else {})


def study_csv(result: dict[str, Any]) -> str:
    """The table's figures, one a line: init, column, seed, top1 (a share)."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(("init", "figure", "seed", "top1"))
    columns, rows = table_cells(result)
    for init, cells in rows.items():
        for column, values in zip(columns, cells, strict=True):
            writer.writerows((init, column, seed, value) for seed, value in enumerate(values))
    return lines.getvalue()


def plot_study(result: dict[str, Any], path: Path) -> None:
    """Left: top-1 by init and share of the labels. Right, of curves: over the budget of pre-training.

    Dots are seeds, lines and bars their means. Written as PNG.
    """
    require("matplotlib", "demo")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    inits = inits_of(result)
    lengths = {(run["init"], run["budget"]) for run in result["runs"]}
    panels = 2 if len(lengths) > len(inits) else 1
    figure = Figure(figsize=(10 if panels == 2 else 7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    bars, *curves = figure.subplots(1, panels, squeeze=False)[0]
    own = itertools.cycle(OWN_COLOURS)
    colours = {init: COLOURS.get(init) or next(own) for init in inits}
    for i, init in enumerate(inits):
        for j, labels in enumerate(("few", "all")):
            values = [100 * x for x in final_runs(result, init, labels)]
            left = j * (len(inits) + 1) + i
            label = title_of(init) if j == 0 else None
            bars.bar(left, statistics.mean(values), color=colours[init], alpha=0.55, label=label)
            bars.plot([left] * len(values), values, "o", color=colours[init], markeredgecolor="white")
            bars.annotate(f"{statistics.mean(values):.0f}", (left, 1), ha="center", fontsize=9)
    middle = (len(inits) - 1) / 2
    ticks = [f"{result['labels'][labels]:,} labels" for labels in ("few", "all")]
    bars.set_xticks([middle, middle + len(inits) + 1], ticks)
    bars.set_ylabel("top-1, %")
    bars.set_title("Fine-tuned")
    for curve in curves:
        _plot_lengths(curve, result, colours)
    for axes in (bars, *curves):
        axes.axhline(100 / result["classes"], color="black", linewidth=0.8, linestyle="--")
        axes.set_ylim(0, 100)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=1 if len(inits) < 4 else 2)
    with atomic_path(path) as aside:
        figure.savefig(aside, dpi=130, format="png")


def _plot_lengths(curve: Any, result: dict[str, Any], colours: dict[str, str]) -> None:
    """Top-1 over the budget of pre-training: fine-tuned with few labels, and of the linear probe."""
    few = [run for run in result["runs"] if run["labels"] == "few"]
    for rows, key, style, name in (
        (few, "top1", "-", f"fine-tuned, {result['labels']['few']:,} labels"),
        (result["probes"], "linear", ":", "linear probe, all labels"),
    ):
        curve.plot([], [], style, color="black", label=name)  # whose colour it is says the left
        for init, colour in colours.items():
            points: dict[float, list[float]] = {}
            for row in rows:
                if row["init"] == init:
                    points.setdefault(row["budget"], []).append(100 * row[key])
            if len(points) == 1:  # its curve was not run
                continue
            places = sorted(points)
            means = [statistics.mean(points[place]) for place in places]
            curve.plot(places, means, style, color=colour)
            for place in places:
                dots = points[place]
                curve.plot([place] * len(dots), dots, ".", color=colour, alpha=0.6)
    # Not a curve's beginning: scratch is a ViT, and not every system.
    scratch = 100 * statistics.mean(final_runs(result, "scratch", "few"))
    curve.axhline(scratch, color=colours["scratch"], linewidth=1)
    curve.set_xlim(left=0)
    curve.set_xlabel(f"{result['budget']} of pre-training")
    curve.set_title("Length of pre-training (seed 0; its end: all seeds)")
