"""The figures of a GPU as tables in Markdown, beside what was predicted."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffmae_video.files import write_text

BARE = {"what": "train", "decoder": "cross_self", "loop": "bare", "batch": 64}
# What was expected before the first measurement: labels of a figure, and the prediction for an H100.
PREDICTIONS: tuple[tuple[dict[str, Any], str], ...] = (
    ({**BARE, "model": "ViT-B", "compiled": False}, "85-105 ms, MFU .28-.35"),
    ({**BARE, "model": "ViT-B", "compiled": True}, "65-80 ms"),
    ({"what": "train", "model": "ViT-L", "compiled": True}, "goal: MFU .50 or more"),
    ({"what": "counts"}, "update: at most 1,000 operations and 2 reads"),
)
FIRST = ("machine", "product", "train", "phases", "counts", "checkpoint", "sample", "loader")


def write_report(figures: Path, report: Path) -> Path:
    """Writes the tables of a file of figures, and returns the report's path."""
    lines = [json.loads(line) for line in figures.read_text(encoding="utf-8").splitlines() if line]
    write_text(report, tables(lines))
    return report


def tables(lines: Sequence[dict[str, Any]]) -> str:
    """One table for each kind of figure, with a column for each key and one for predictions, if any."""
    kinds = dict.fromkeys(line["what"] for line in lines)
    ordered = [kind for kind in FIRST if kind in kinds] + [kind for kind in kinds if kind not in FIRST]
    return "\n\n".join(f"### {kind}\n\n{_table([x for x in lines if x['what'] == kind])}" for kind in ordered)


def prediction(line: dict[str, Any]) -> str:
    """What was predicted for a figure; "" if nothing was."""
    for labels, text in PREDICTIONS:
        if all(line.get(key) == value for key, value in labels.items()):
            return text
    return ""


def _table(lines: Sequence[dict[str, Any]]) -> str:
    columns = [key for key in dict.fromkeys(key for line in lines for key in line) if key != "what"]
    rows = [[_cell(line.get(column)) for column in columns] for line in lines]
    predictions = [prediction(line) for line in lines]
    if any(predictions):
        columns.append("predicted")
        rows = [[*row, text] for row, text in zip(rows, predictions, strict=True)]
    head = [columns, ["---"] * len(columns)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [*head, *rows])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).replace("|", "\\|")
