"""Writes what people read of an evaluation: tables of videos and classes, and the confusion matrix."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffmae_video.data import Entry
from diffmae_video.files import atomic_path, write_text

TOP = 5  # classes in a video's row
MAX_NAMED = 40  # with more classes the picture's axes show no names
MAX_NUMBERED = 20  # with more classes its cells show no numbers


def write_predictions(
    path: Path,
    entries: Sequence[Entry],
    predicted: Sequence[str],
    faults: Sequence[str],
    probabilities: Tensor,
    classes: Sequence[str],
) -> None:
    """Writes a CSV table of videos: label, prediction and the most likely classes of each.

    Args:
        predicted: the name of the predicted class, or of several.
        faults: why a video could not be read, or empty. Fields after the reason are then empty.
        probabilities: [n, C].
    """
    top = probabilities.topk(min(TOP, len(classes)), dim=1)
    likely = [name for i in range(1, top.values.shape[1] + 1) for name in (f"class_{i}", f"probability_{i}")]
    rows = [["path", "start", "end", "label", "predicted", "was_read", "reason", *likely]]
    for entry, guess, fault, values, places in zip(
        entries, predicted, faults, top.values.tolist(), top.indices.tolist(), strict=True
    ):
        end = "" if entry.end is None else str(entry.end)
        row = [entry.path, str(entry.start), end, entry.label or ""]
        if fault:
            row += ["", "false", fault, *[""] * len(likely)]
        else:
            row += [guess, "true", ""]
            for value, place in zip(values, places, strict=True):
                row += [classes[place], f"{value:.6g}"]
        rows.append(row)
    _write_table(path, rows)


def write_classes(path: Path, classes: Sequence[str], columns: dict[str, Tensor]) -> None:
    """Writes a CSV table of classes with columns [C] of figures; NaN becomes an empty field."""
    values = zip(*(column.tolist() for column in columns.values()), strict=True)
    fields = ([f"{x:.6g}" if not math.isnan(x) else "" for x in row] for row in values)
    _write_table(
        path, [["class", *columns], *([name, *row] for name, row in zip(classes, fields, strict=True))]
    )


def draw_confusion(path: Path, matrix: Tensor, classes: Sequence[str]) -> None:
    """Draws a confusion matrix: rows are labels, colours are the share of a row's videos.

    Args:
        matrix: int64 [C, C], see :func:`~diffmae_video.classification.class_metrics.confusion_matrix`.
    """
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    count = len(classes)
    share = matrix / matrix.sum(1, keepdim=True).clamp_min(1)
    side = 4 + 0.25 * min(count, MAX_NAMED)  # inches
    figure = Figure(figsize=(side + 1, side), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    # The colour follows the square root of the share, so that rare confusions are visible.
    picture = axes.imshow(share.numpy(), cmap="viridis", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    figure.colorbar(picture, ax=axes, label="share of the label's videos", shrink=0.8)
    numbered = "" if count <= MAX_NAMED else " (index of the class, from 0)"
    axes.set_xlabel(f"predicted{numbered}")
    axes.set_ylabel(f"label{numbered}")
    if count <= MAX_NAMED:
        axes.set_xticks(range(count), classes, rotation=90, parse_math=False)
        axes.set_yticks(range(count), classes, parse_math=False)
    if count <= MAX_NUMBERED:
        for row, column in torch.nonzero(matrix).tolist():
            colour = "black" if share[row, column] > 0.4 else "white"
            axes.text(column, row, str(int(matrix[row, column])), ha="center", va="center", color=colour)
    with atomic_path(path) as aside:
        figure.savefig(aside)


def _write_table(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    # File names need not be valid Unicode.
    write_text(path, text.getvalue().encode("utf-8", "backslashreplace").decode())
