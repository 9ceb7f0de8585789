"""Files inside tar shards, and files in object stores.

A file in a shard is named by its place: ``shard-000003.tar@51200+734003/cat.mp4`` starts at byte 51,200 of
the shard and has 734,003 bytes. The shard, or a file of its own, may be local or at any URL that fsspec
reads, such as ``s3://bucket/shard-000003.tar@51200+734003/cat.mp4``. One read or range request fetches it.
"""

import os
import re
import tarfile
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from diffmae_video.decoding.reader import VideoError, reason
from diffmae_video.errors import InputError, MissingExtraError, require

MEMBER = re.compile(r"(.+\.tar)@(\d+)\+(\d+)/(.+)")
URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
HEADER = tarfile.BLOCKSIZE  # bytes before a file in a shard


class Place(NamedTuple):
    """Where a file is stored: the whole of a file, or ``size`` bytes of a shard from ``offset`` on."""

    file: str
    offset: int = 0
    size: int | None = None


def is_url(path: str | Path) -> bool:
    """Whether fsspec reads this file."""
    return bool(URL.match(str(path)))


def is_stored(path: str | Path) -> bool:
    """Whether a file lies in a shard or in an object store, and not in a folder."""
    return is_url(path) or bool(MEMBER.fullmatch(str(path)))


def place_of(path: str) -> Place:
    """Where a file is stored, by its name."""
    match = MEMBER.fullmatch(path)
    return Place(match[1], int(match[2]), int(match[3])) if match else Place(path)


def member_path(shard: str, offset: int, size: int, name: str) -> str:
    """The name of a file in a shard."""
    return f"{shard}@{offset}+{size}/{name}"


def absolute(path: str) -> str:
    """The absolute path of a local file or shard; URLs stay."""
    return path if is_url(path) else str(Path(path).absolute())


def exists(path: str) -> bool:
    """Whether a file exists, or the shard that holds it.

    Raises:
        InputError: the store cannot be reached.
    """
    file = place_of(path).file
    if not is_url(file):
        return Path(file).exists()
    try:
        filesystem, name = _filesystem(file)
        return bool(filesystem.exists(name))
    except InputError:
        raise
    except Exception as error:  # each store has errors of its own
        raise InputError(f"{file}: the store cannot be read ({reason(error)})") from error


def fetch(path: str) -> bytes:
    """The content of a file.

    Raises:
        VideoError: the file or its shard is missing or cut off, the shard holds another file at this place,
            or the store fails.
        InputError: fsspec, or what it needs for this kind of URL, is not installed, or there is no such kind.
    """
    file, offset, size = place_of(path)
    start, end = (0, None) if size is None else (offset - HEADER, offset + size)
    try:
        data = _read_url(file, start, end) if is_url(file) else _read_local(file, start, end)
    except InputError:
        raise
    except Exception as error:  # each store has errors of its own
        raise VideoError(f"{path}: cannot be read from its store ({reason(error)})") from error
    if size is None:
        return data
    if len(data) < HEADER + size:
        raise VideoError(f"{path}: the shard ends before the end of this file")
    if not _is_header(data[:HEADER], size):
        raise VideoError(
            f"{path}: no file starts at this place of the shard; its list belongs to other shards"
        )
    return data[HEADER:]


def _is_header(block: bytes, size: int) -> bool:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape").size == size
    except tarfile.HeaderError:
        return False


def _read_local(file: str, start: int, end: int | None) -> bytes:
    with Path(file).open("rb") as stored:
        stored.seek(start)
        return stored.read() if end is None else stored.read(end - start)


def _read_url(url: str, start: int, end: int | None) -> bytes:
    filesystem, name = _filesystem(url)
    data: bytes = filesystem.cat_file(name, start=start, end=end)
    return data


def _filesystem(url: str) -> tuple[Any, str]:
    core = require("fsspec.core", "shards")
    try:
        filesystem, name = core.url_to_fs(url)
    except ImportError as error:  # fsspec names the package
        raise MissingExtraError(f"{url}: {reason(error)}") from error
    except ValueError as error:
        raise InputError(f"{url}: {reason(error)}") from error
    return filesystem, name


class MemoryFile:
    """Content as a file that other libraries open by its path. The system removes it with this process."""

    def __init__(self, data: bytes, ending: str) -> None:
        if hasattr(os, "memfd_create") and Path("/proc/self/fd").exists():
            self.file: Any = os.fdopen(os.memfd_create("diffmae-video-file"), "w+b")
            self.path = f"/proc/self/fd/{self.file.fileno()}"
        else:
            self.file = tempfile.NamedTemporaryFile(suffix=ending)  # noqa: SIM115
            self.path = self.file.name
        self.file.write(data)
        self.file.flush()

    def close(self) -> None:
        self.file.close()
