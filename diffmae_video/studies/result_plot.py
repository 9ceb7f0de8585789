"""The results of a study as a plot, with every seed."""

import itertools
import statistics
from pathlib import Path
from typing import Any

from diffmae_video.errors import require
from diffmae_video.files import atomic_path
from diffmae_video.studies.result_tables import final_runs, inits_of, title_of

COLOURS = {
    "scratch": "#777777",
    "mae": "#c2571a",
    "igpt": "#7a4fa3",
    "adm": "#3a8a4d",
    "ddpm": "#b08a00",
    "diffmae": "#1f6fb4",
}
# For the user's own systems: matplotlib's colours without grey and blue, which scratch and DiffMAE have.
OTHER_COLOURS = ("C1", "C2", "C3", "C4", "C5", "C6", "C8", "C9")


def plot_result(result: dict[str, Any], path: Path) -> None:
    """Writes a PNG. Left: top-1 by init and labels. Right, if curves were run: top-1 over pre-training.

    Dots are seeds; bars and lines are their means.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: the file cannot be written.
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
    other = itertools.cycle(OTHER_COLOURS)
    colours = {init: COLOURS.get(init) or next(other) for init in inits}
    _plot_bars(bars, result, colours)
    for axes in curves:
        _plot_curves(axes, result, colours)
    for axes in (bars, *curves):
        axes.axhline(100 / result["classes"], color="black", linewidth=0.8, linestyle="--")
        axes.set_ylim(0, 118)  # room for the legend
        axes.set_yticks(range(0, 101, 20))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=1 if len(inits) < 4 else 2)
    with atomic_path(path) as aside:
        figure.savefig(aside, dpi=130, format="png")


def _plot_bars(axes: Any, result: dict[str, Any], colours: dict[str, str]) -> None:
    """Fine-tuned top-1: a group of bars for each label set, a bar for each init."""
    for i, (init, colour) in enumerate(colours.items()):
        for group, labels in enumerate(("few", "all")):
            values = [100 * x for x in final_runs(result, init, labels)]
            mean, x = statistics.mean(values), group * (len(colours) + 1) + i
            axes.bar(x, mean, color=colour, alpha=0.55, label=title_of(init) if group == 0 else None)
            axes.plot([x] * len(values), values, "o", color=colour, markeredgecolor="white")
            axes.annotate(f"{mean:.0f}", (x, 1), ha="center", fontsize=9)
    middle = (len(colours) - 1) / 2
    ticks = [f"{result['labels'][labels]:,} labels" for labels in ("few", "all")]
    axes.set_xticks([middle, middle + len(colours) + 1], ticks)
    axes.set_ylabel("top-1, %")
    axes.set_title("Fine-tuned")


def _plot_curves(axes: Any, result: dict[str, Any], colours: dict[str, str]) -> None:
    """Top-1 over the length of pre-training: fine-tuned with few labels, and linear probe."""
    few = [run for run in result["runs"] if run["labels"] == "few"]
    for rows, key, style, name in (
        (few, "top1", "-", f"fine-tuned, {result['labels']['few']:,} labels"),
        (result["probes"], "linear", ":", "linear probe, all labels"),
    ):
        axes.plot([], [], style, color="black", label=name)  # the left panel's legend explains the colours
        for init, colour in colours.items():
            points: dict[float, list[float]] = {}
            for row in rows:
                if row["init"] == init:
                    points.setdefault(row["budget"], []).append(100 * row[key])
            if len(points) == 1:  # no curve was run for this system
                continue
            lengths = sorted(points)
            axes.plot(lengths, [statistics.mean(points[x]) for x in lengths], style, color=colour)
            for x in lengths:
                axes.plot([x] * len(points[x]), points[x], ".", color=colour, alpha=0.6)
    # A line across, not the curves' first point: scratch is a ViT, which not every system is.
    scratch = 100 * statistics.mean(final_runs(result, "scratch", "few"))
    axes.axhline(scratch, color=colours["scratch"], linewidth=1)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{result['budget']} of pre-training")
    axes.set_title("Length of pre-training (seed 0; at the end all seeds)")
