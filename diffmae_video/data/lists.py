"""Lists of videos and images: folders, lines, tables with a header, and Kinetics' own CSV."""

from __future__ import annotations

import csv
import io
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from diffmae_video.decoding.endings import IMAGE_ENDINGS, VIDEO_ENDINGS
from diffmae_video.errors import InputError
from diffmae_video.files import write_text

T = TypeVar("T")

COLUMNS = ("path", "start", "end", "label")
KINETICS_COLUMNS = ("youtube_id", "time_start", "time_end")  # and, but in the test lists, a label
NAMED = 10  # missing videos that a warning names


@dataclass(frozen=True)
class Entry:
    """A stretch of a video, or an image.

    Attributes:
        path: the file.
        start: seconds from the beginning.
        end: seconds from the beginning; None for the whole rest.
        label: the class, as the list has it; None where it has none.
    """

    path: str
    start: float = 0.0
    end: float | None = None
    label: str | None = None


def find_videos(folder: str | Path, images: bool = False) -> list[Path]:
    """All files below a folder whose ending is a video's, sorted; hidden ones are left out.

    Args:
        images: find images as well.

    Raises:
        InputError: there is no such folder, or nothing of the kind in it.
    """
    folder = Path(folder)
    endings = VIDEO_ENDINGS + IMAGE_ENDINGS if images else VIDEO_ENDINGS
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    # hidden: what another process is writing here (files.py), and macOS's ._ companions
    found = sorted(
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in endings and not _is_hidden(p.relative_to(folder)) and p.is_file()
    )
    if not found:
        kind = "video or image" if images else "video"
        raise InputError(f"{folder}: no {kind} in it; looked for {', '.join(endings)}")
    return found


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def read_list(path: str | Path, root: str | Path = "", images: bool = False) -> list[Entry]:
    """Reads a list of videos or images, whichever of these it is:

    - a folder: all videos below it. If they lie in two or more folders and none beside those, the
      name of such a folder is the label;
    - a CSV or TSV table with a header: ``path`` and any of ``label``, ``start``, ``end`` (seconds), in
      any order; an empty field is none;
    - lines ``path label``, as the lists of Kinetics for VideoMAE and SlowFast have them: the last field
      is the label, so that paths may hold spaces; or lines ``path``;
    - Kinetics' own CSV, see :func:`read_kinetics`; missing videos are a warning.

    Args:
        root: where relative paths start; the list's own folder by default.
        images: in a folder, find images as well.

    Raises:
        InputError: a missing or empty list, an unknown column, or a bad line (with its number).
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path, images)
    text = _read_text(path)
    header = _header(text)
    if set(KINETICS_COLUMNS) <= set(header):
        entries, missing = read_kinetics(path, root)
        if missing:
            warnings.warn(_report(path, missing, len(entries) + len(missing)), stacklevel=2)
        return entries
    if not text.strip() or "path" in header:
        entries = list(_read_table(path, text, header))
    else:
        entries = list(_read_lines(path, text))
    if not entries:
        raise InputError(f"{path}: the list is empty")
    # os.path, since a Path would rewrite "./a" and "a//b"
    root = str(root) or os.path.dirname(path)  # noqa: PTH120
    return [Entry(os.path.join(root, e.path), e.start, e.end, e.label) for e in entries]  # noqa: PTH118


def read_kinetics(path: str | Path, root: str | Path = "") -> tuple[list[Entry], list[str]]:
    """Reads Kinetics' own CSV: ``label,youtube_id,time_start,time_end,split[,is_cc]``.

    Its videos are files ``{youtube_id}_{time_start:06d}_{time_end:06d}`` with any video's ending, cut
    to the stretch already. They are found by that name, in whatever folder below ``root`` they lie:
    flat, or by label with its spaces kept or as underscores.

    Args:
        root: where the videos are; the list's own folder by default.

    Returns:
        The entries of those that are there, and the names of those that are missing.

    Raises:
        InputError: the list cannot be read, a bad line (with its number), or no video is there.
    """
    path = Path(path)
    text = _read_text(path)
    header = _header(text)
    if not set(KINETICS_COLUMNS) <= set(header):
        raise InputError(
            f"{path}: line 1: expected columns {', '.join(KINETICS_COLUMNS)} of Kinetics' own CSV"
        )
    root = Path(root or path.parent)
    found = {p.stem: str(p) for p in reversed(find_videos(root))}  # of two of one name, the first
    entries, missing = [], []
    for where, row in _rows(path, text, header):
        try:
            start, end = int(row["time_start"]), int(row["time_end"])
        except ValueError as error:
            raise InputError(f"{where}: time_start and time_end are whole seconds ({error})") from error
        name = f"{row['youtube_id']}_{start:06d}_{end:06d}"
        if name in found:
            entries.append(Entry(found[name], label=row.get("label") or None))
        else:
            missing.append(name)
    if not entries:
        raise InputError(
            f"{path}: none of its {len(missing)} videos is below {root}; give their folder as root"
        )
    return entries, missing


def write_list(path: str | Path, entries: Iterable[Entry]) -> None:
    """Writes a CSV list that :func:`read_list` reads, with the columns that the entries use.

    Paths are written as they are: relative ones will be taken from the list's folder.

    Raises:
        InputError: a path that is not valid Unicode.
    """
    entries = list(entries)
    rows = [(e.path, *("" if v in (0, None) else str(v) for v in (e.start, e.end, e.label))) for e in entries]
    used = [i for i, name in enumerate(COLUMNS) if name == "path" or any(row[i] for row in rows)]
    lines = [[COLUMNS[i] for i in used], *([row[i] for i in used] for row in rows)]
    text = "".join(",".join(map(_quoted, line)) + "\n" for line in lines)
    try:
        write_text(path, text)
    except UnicodeEncodeError as error:
        raise InputError(f"{path}: a file name is not valid UTF-8 ({error}); rename the file") from error


def _quoted(field: str) -> str:
    """A field of a CSV line; csv.writer leaves a lone carriage return bare, and cannot read it back."""
    special = any(c in field for c in ',"\t\r\n') or field != field.strip()
    return '"' + field.replace('"', '""') + '"' if special else field


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")  # with or without a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read the list of videos ({error})") from error


def _header(text: str) -> list[str]:
    """The fields of the first line."""
    return [name.strip('" \r') for name in text.partition("\n")[0].split(_delimiter(text))]


def _delimiter(text: str) -> str:
    return "\t" if "\t" in text.partition("\n")[0] else ","


def _rows(path: Path, text: str, header: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The lines below a header: where each is, for messages, and its fields by column."""
    rows = csv.reader(io.StringIO(text), delimiter=_delimiter(text), strict=True)
    try:
        for row in rows:
            where = f"{path}: line {rows.line_num}"
            if rows.line_num == 1 or not row:
                continue
            if len(row) != len(header):
                raise InputError(f"{where}: {len(row)} fields where the header has {len(header)}")
            yield where, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise InputError(f"{path}: line {rows.line_num}: {error}; is a quote missing?") from error


def _read_table(path: Path, text: str, header: list[str]) -> Iterator[Entry]:
    if not set(header) <= set(COLUMNS) or len(set(header)) < len(header):
        raise InputError(
            f"{path}: line 1: expected the header {','.join(COLUMNS)} (path alone will do) or lines "
            f"'path label', got {','.join(header)!r}"
        )
    for where, row in _rows(path, text, header):
        if not row["path"]:
            raise InputError(f"{where}: the path is empty")
        try:
            start = float(row.get("start") or 0)
            end = float(row["end"]) if row.get("end") else None
        except ValueError as error:
            raise InputError(f"{where}: start and end are seconds ({error})") from error
        if not (0 <= start < math.inf and (end is None or start < end < math.inf)):
            raise InputError(f"{where}: from {start} s to {end} s is no stretch of time")
        yield Entry(row["path"], start, end, row.get("label") or None)


def _read_lines(path: Path, text: str) -> Iterator[Entry]:
    endings = VIDEO_ENDINGS + IMAGE_ENDINGS
    has_labels = None
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip(" \t\r")
        if not line:
            continue
        name, label = line, None
        if not line.lower().endswith(endings):
            name, *rest = line.rsplit(None, 1)
            label = rest[0] if rest else None
        where = f"{path}: line {number}"
        if not name.lower().endswith(endings):
            raise InputError(
                f"{where}: expected 'path label' or 'path', with a path that ends in {', '.join(endings)}, "
                f"got {line!r}; other lists need the header {','.join(COLUMNS)}"
            )
        if has_labels not in (None, label is not None):
            raise InputError(f"{where}: {'no' if has_labels else 'a'} label, unlike the lines above it")
        has_labels = label is not None
        yield Entry(name, label=label)


def _read_folder(folder: Path, images: bool) -> list[Entry]:
    found = find_videos(folder, images)
    inside = [path.relative_to(folder).parts for path in found]
    by_class = min(map(len, inside)) > 1 and len({parts[0] for parts in inside}) > 1
    return [
        Entry(str(path), label=parts[0] if by_class else None)
        for path, parts in zip(found, inside, strict=True)
    ]


def _report(path: Path, missing: list[str], total: int) -> str:
    """Missing videos in one line."""
    names = ", ".join(missing[:NAMED]) + (", ..." if len(missing) > NAMED else "")
    return f"{path}: {len(missing)} of {total} videos are missing and left out: {names}"


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most ``count`` items at even distances."""
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, min(count, len(items)))]
