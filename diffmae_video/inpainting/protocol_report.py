"""Writes the scores of the protocol as Markdown tables, CSV and JSON."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from diffmae_video.files import write_text

# Name, title, factor and number format.
COLUMNS = (
    ("psnr", "PSNR, dB", 1, ".2f"),
    ("ssim", "SSIM", 1, ".4f"),
    ("psnr_hole", "PSNR in the hole, dB", 1, ".2f"),
    ("warping_error", "warping error × 10³", 1e3, ".3f"),
    ("vfid", "VFID", 1, ".3g"),
)
NOTE = """\
Scores of whole frames, in which all but the hole is the truth's: means over frames, then over films. SSIM
is in windows of 65 pixels. The warping error follows the truth's optical flow (OpenCV's DIS) outside
occlusions; compare it with the truth's own. VFID depends on the network. Camera and object (the hole's centre
against the camera) are still below 0.1 % of the frame's diagonal per frame, slow below 1 %, and else fast.
"""


def write_protocol(result: dict[str, Any], output: Path) -> str:
    """Writes protocol.md, .csv and .json for a result of ``evaluate_protocol``; returns the Markdown."""
    text = format_protocol(result)
    write_text(output / "protocol.md", text)
    write_text(output / "protocol.json", json.dumps(result, indent=2) + "\n")
    table = io.StringIO()
    names = ["group", "films", "fill", *(name for name, *_ in COLUMNS)]
    writer = csv.DictWriter(table, names, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(result["rows"])
    write_text(output / "protocol.csv", table.getvalue())
    return text


def format_protocol(result: dict[str, Any]) -> str:
    """One Markdown table, with a row for each group of films and fill."""
    rows = result["rows"]
    columns = [column for column in COLUMNS if any(row.get(column[0]) is not None for row in rows)]
    lines = [f"{len(result['films'])} films.", "", NOTE]
    lines += [f"| films | fill | {' | '.join(title for _, title, *_ in columns)} |"]
    lines += ["|---" * (2 + len(columns)) + "|"]
    for row in rows:
        cells = [_cell(row.get(name), factor, form) for name, _, factor, form in columns]
        count = "" if row["group"].startswith("film: ") else f" ({row['films']})"
        lines.append(f"| {row['group']}{count} | {row['fill']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(value: float | None, factor: float, form: str) -> str:
    return "–" if value is None else format(factor * value, form)
