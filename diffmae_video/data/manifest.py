"""Lists of videos."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from diffmae_video.errors import InputError
from diffmae_video.files import write_text

VIDEO_ENDINGS = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg")
COLUMNS = ("path", "start", "end")


@dataclass(frozen=True)
class Entry:
    """A stretch of a video.

    Attributes:
        path: the file.
        start: seconds from the beginning.
        end: seconds from the beginning; None for the whole rest.
    """

    path: str
    start: float = 0.0
    end: float | None = None


def find_videos(folder: str | Path) -> list[Path]:
    """All files below a folder whose ending is a video's, sorted.

    Raises:
        InputError: there is no such folder, or no video in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_ENDINGS and p.is_file())
    if not found:
        raise InputError(f"{folder}: no video in it; looked for {', '.join(VIDEO_ENDINGS)}")
    return found


def read_list(path: str | Path) -> list[Entry]:
    """Reads a list: a folder of videos, or a CSV file with the header ``path[,start,end]``.

    Relative paths are taken from the list's own folder; start and end are seconds.

    Raises:
        InputError: a missing or empty list, an unknown column, or a bad line (with its number).
    """
    path = Path(path)
    if path.is_dir():
        return [Entry(str(p)) for p in find_videos(path)]
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read the list of videos ({error})") from error
    rows = csv.reader(io.StringIO(text))
    header = next(rows, [])
    if not header or header[0] != "path" or not set(header) <= set(COLUMNS):
        raise InputError(f"{path}: line 1: expected the header {','.join(COLUMNS)}, got {','.join(header)!r}")
    entries = []
    for row in rows:
        if not row:
            continue
        where = f"{path}: line {rows.line_num}"
        if len(row) != len(header):
            raise InputError(f"{where}: {len(row)} fields where the header has {len(header)}")
        value = dict(zip(header, row, strict=True))
        try:
            start = float(value.get("start") or 0)
            end = float(value["end"]) if value.get("end") else None
        except ValueError as error:
            raise InputError(f"{where}: start and end are seconds ({error})") from error
        if start < 0 or (end is not None and end <= start):
            raise InputError(f"{where}: from {start} s to {end} s is no stretch of time")
        entries.append(Entry(str(path.parent / value["path"]), start, end))
    if not entries:
        raise InputError(f"{path}: the list is empty")
    return entries


def write_list(path: str | Path, entries: Iterable[Entry]) -> None:
    """Writes a list that :func:`read_list` reads."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in entries:
        writer.writerow([entry.path, entry.start, "" if entry.end is None else entry.end])
    write_text(path, text.getvalue())
