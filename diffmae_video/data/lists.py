"""Lists of videos and pictures: folders, tables, lines, and Kinetics' own CSV."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from diffmae_video.data.folders import find_videos, scan_folder
from diffmae_video.data.tables import DELIMITERS, delimiter_of, header_of, table_rows
from diffmae_video.decoding.file_types import IMAGE_ENDINGS, VIDEO_ENDINGS, is_image_name
from diffmae_video.decoding.reader import VideoError
from diffmae_video.decoding.storage import exists, fetch, is_url
from diffmae_video.errors import InputError, InputWarning, StoreError
from diffmae_video.files import decode_text, read_text, write_text

T = TypeVar("T")

COLUMNS = ("path", "start", "end", "label")
KINETICS_COLUMNS = ("youtube_id", "time_start", "time_end")  # and a label, except in the test lists
NAMED_MISSING = 10  # missing videos that a warning names
ENDINGS = VIDEO_ENDINGS + IMAGE_ENDINGS


@dataclass(frozen=True)
class Entry:
    """A stretch of a video, or a picture."""

    path: str  # the file
    start: float = 0.0  # seconds from the beginning of the video
    end: float | None = None  # seconds from the beginning of the video; None for its end
    label: str | None = None  # the class, as written in the list; None without one


def read_list(path: str | Path, root: str | Path = "", images: bool = False) -> list[Entry]:
    """Reads a list of videos or pictures. The list can be

    - a folder: all videos below it, see :func:`~diffmae_video.data.folders.find_videos`. If all of them
      lie in subfolders, and there are two or more of these, the name of the subfolder is the label;
    - a CSV or TSV table with a header: ``path`` and any of ``label``, ``start``, ``end`` (seconds), in
      any order; fields may be empty;
    - lines ``path label``, like VideoMAE's and SlowFast's lists of Kinetics, lines ``path,label``, or
      lines ``path``; paths may contain spaces;
    - Kinetics' own CSV, see :func:`read_kinetics`; missing videos are a warning.

    The list itself may lie at a URL, such as ``s3://bucket/list.csv``. Its paths may be URLs and places in
    shards, see :mod:`~diffmae_video.decoding.storage`; ``datasets/make_shards.py`` writes such lists.

    Args:
        path: the list or folder.
        root: the folder where relative paths start, by default the list's own; ``old=new`` replaces the
            beginning ``old`` of absolute paths by ``new``.
        images: find pictures in a folder as well.

    Raises:
        StoreError: the list lies in an object store that does not answer.
        InputError: the list is missing, empty or not a text, has an unknown column, or a bad line (with
            its number); or ``old`` is the beginning of no path.
    """
    if not is_url(path) and Path(path).is_dir():
        return _read_folder(Path(path), images)
    text = _read(path)
    header = header_of(text)
    if set(KINETICS_COLUMNS) <= set(header):
        entries, missing = read_kinetics(path, root)
        if missing:
            names = ", ".join(missing[:NAMED_MISSING]) + (", ..." if len(missing) > NAMED_MISSING else "")
            total = len(entries) + len(missing)
            message = f"{path}: {len(missing)} of {total} videos are missing and left out: {names}"
            warnings.warn(message, InputWarning, stacklevel=2)
        return entries
    entries = list(_read_table(path, text, header) if "path" in header else _read_lines(path, text))
    if not entries:
        raise InputError(f"{path}: the list is empty")
    return _locate(path, entries, str(root))


def read_kinetics(path: str | Path, root: str | Path = "") -> tuple[list[Entry], list[str]]:
    """Reads Kinetics' own CSV: ``label,youtube_id,time_start,time_end,split[,is_cc]``.

    Its videos are files ``{youtube_id}_{time_start:06d}_{time_end:06d}`` with any video's ending, already
    cut to the stretch. They are found by name in any folder below ``root``: in a single folder, or in
    one for each label.

    Args:
        path: the CSV file.
        root: the folder of the videos, by default the list's own.

    Returns:
        The entries of the videos that exist, and the names of the missing ones.

    Raises:
        InputError: the list cannot be read, a line is wrong (with its number), or no video exists.
    """
    text = _read(path)
    header = header_of(text)
    if not set(KINETICS_COLUMNS) <= set(header):
        raise InputError(
            f"{path}: line 1: expected the columns {', '.join(KINETICS_COLUMNS)} of Kinetics' own CSV"
        )
    videos: list[tuple[str, str | None]] = []  # name and label
    for where, row in table_rows(path, text, header, delimiter_of(text)):
        try:
            start, end = int(row["time_start"]), int(row["time_end"])
        except ValueError as error:
            raise InputError(f"{where}: time_start and time_end are whole seconds ({error})") from error
        videos.append((f"{row['youtube_id']}_{start:06d}_{end:06d}", row.get("label") or None))
    if is_url(path) and not root:
        raise InputError(f"{path}: is Kinetics' own list; give the local folder of its videos as DATA.ROOT")
    root = Path(root or Path(path).parent)
    files = {p.stem: str(p) for p in reversed(scan_folder(root)[0])}  # of equal names the first one
    entries = [Entry(files[name], label=label) for name, label in videos if name in files]
    if not entries:
        example = f", such as {videos[0][0]}.mp4," if videos else ""
        raise InputError(
            f"{path}: is Kinetics' own list, and none of its {len(videos)} videos{example} is in {root}; "
            "give the folder of the videos as DATA.ROOT (in tools: --root or --videos)"
        )
    return entries, [name for name, _ in videos if name not in files]


def write_list(path: str | Path, entries: Iterable[Entry]) -> None:
    """Writes a CSV list that :func:`read_list` reads, with the columns that the entries use.

    Paths are written unchanged; relative ones will be taken from the list's folder.

    Raises:
        InputError: a path is not valid Unicode.
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
    """A CSV field. csv.writer does not quote a lone carriage return, and then cannot read it back."""
    is_special = any(c in field for c in ',;"\t\r\n') or field != field.strip()
    return '"' + field.replace('"', '""') + '"' if is_special else field


def _read(path: str | Path) -> str:
    if is_url(path):
        try:
            return decode_text(fetch(str(path)), path)
        except VideoError as error:
            is_wrong = isinstance(error.__cause__, (FileNotFoundError, PermissionError))
            raise (InputError if is_wrong else StoreError)(str(error)) from error
    if Path(path).suffix.lower() in ENDINGS and Path(path).is_file():
        raise InputError(f"{path}: is a video or picture; give its folder, or a list that names it")
    return read_text(path)


def _read_folder(folder: Path, images: bool) -> list[Entry]:
    paths = find_videos(folder, images)
    parts = [path.relative_to(folder).parts for path in paths]
    has_classes = min(map(len, parts)) > 1 and len({part[0] for part in parts}) > 1
    return [
        Entry(str(path), label=part[0] if has_classes else None)
        for path, part in zip(paths, parts, strict=True)
    ]


def _read_table(path: str | Path, text: str, header: list[str]) -> Iterator[Entry]:
    if not set(header) <= set(COLUMNS) or len(set(header)) < len(header):
        raise InputError(
            f"{path}: line 1: expected the header {','.join(COLUMNS)} (only path is required), got "
            f"{','.join(header)!r}"
        )
    for where, row in table_rows(path, text, header, delimiter_of(text)):
        if not row["path"]:
            raise InputError(f"{where}: the path is empty")
        try:
            start = float(row.get("start") or 0)
            end = float(row["end"]) if row.get("end") else None
        except ValueError as error:
            raise InputError(f"{where}: start and end are seconds ({error})") from error
        if not (0 <= start < math.inf and (end is None or start < end < math.inf)):
            raise InputError(f"{where}: start {start} s and end {end} s do not delimit a stretch of time")
        yield Entry(row["path"], start, end, row.get("label") or None)


def _read_lines(path: str | Path, text: str) -> Iterator[Entry]:
    """Lines without a header: of separated values if the first line is, else ``path label`` or ``path``."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    for delimiter in DELIMITERS:
        name, is_separated, _ = first.partition(delimiter)
        if is_separated and name.strip(' "').lower().endswith(ENDINGS):
            rows = table_rows(path, text, ("path", "label"), delimiter, has_header=False)
            yield from _checked((where, row["path"], row["label"] or None) for where, row in rows)
            return
    pattern = re.compile(rf"(.*(?:{'|'.join(map(re.escape, ENDINGS))}))(?:\s+(.*))?", re.IGNORECASE)
    lines = ((f"{path}: line {n}", line.strip(" \t\r")) for n, line in enumerate(text.split("\n"), 1))
    matches = ((where, line, pattern.fullmatch(line)) for where, line in lines if line)
    yield from _checked(
        (where, match[1], match[2]) if match else (where, line, None) for where, line, match in matches
    )


def _checked(lines: Iterable[tuple[str, str, str | None]]) -> Iterator[Entry]:
    """Entries of (where, path, label), which must have known endings, and all or none of them a label."""
    has_labels = None
    for where, name, label in lines:
        if not name.lower().endswith(ENDINGS):
            raise InputError(
                f"{where}: expected 'path label', 'path,label' or 'path', with a path that ends in "
                f"{', '.join(ENDINGS)}, got {name!r}; other lists need the header {','.join(COLUMNS)}"
            )
        if has_labels not in (None, label is not None):
            raise InputError(f"{where}: {'no' if has_labels else 'a'} label, unlike the lines above it")
        has_labels = label is not None
        yield Entry(name, label=label)


def _locate(path: str | Path, entries: list[Entry], root: str) -> list[Entry]:
    """Completes relative paths, and applies a root ``old=new`` to absolute ones."""
    old, is_mapping, new = root.partition("=")
    if not is_mapping or os.path.isdir(root):  # noqa: PTH112
        # os.path, because Path would rewrite "./a" and "a//b"
        folder = root or os.path.dirname(path)  # noqa: PTH120
        return [
            entry if is_url(entry.path) else replace(entry, path=os.path.join(folder, entry.path))  # noqa: PTH118
            for entry in entries
        ]
    old, new = old.rstrip("/"), new.rstrip("/")
    absolute = [entry.path for entry in entries if entry.path.startswith("/")]
    if absolute and not any(name.startswith(f"{old}/") for name in absolute):
        raise InputError(f"{path}: no path starts with {old}/, as the root {root} says; one is {absolute[0]}")
    located = []
    for entry in _locate(path, entries, ""):
        is_moved = entry.path.startswith(f"{old}/")
        located.append(replace(entry, path=new + entry.path[len(old) :]) if is_moved else entry)
    return located


def check_first_files(entries: Sequence[Entry], count: int = 100) -> str:
    """Looks whether the first files of a list exist, so that a wrong path is found before a run starts.

    Returns:
        How many of the first ``count`` files are missing and what to do, in one line; empty if none is.

    Raises:
        InputError: none of them exists, or their store cannot be reached.
    """
    first = list(dict.fromkeys(entry.path for entry in entries))[:count]
    missing = [path for path in first if not exists(path)]
    if not missing:
        return ""
    message = f"{len(missing)} of the first {len(first)} files do not exist, such as {missing[0]}"
    if len(missing) == len(first):
        raise InputError(
            f"{message}; set DATA.ROOT to the folder where relative paths start, or to old=new if the disk "
            "of absolute paths has moved"
        )
    return f"{message}; diffmae check-videos finds all of them"


def count_files(entries: Sequence[Entry]) -> str:
    """How many videos and pictures a list has: ``6 videos``, or ``1 video and 2 pictures``."""
    pictures = sum(is_image_name(entry.path) for entry in entries)
    counts = (("video", len(entries) - pictures), ("picture", pictures))
    named = [f"{count} {noun if count == 1 else noun + 's'}" for noun, count in counts if count]
    return " and ".join(named) or "0 videos"


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most ``count`` items, evenly spaced from the first to the last."""
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, min(count, len(items)))]
