"""Safe writes, after which a file or folder is complete or absent; and text files of any encoding."""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from diffmae_video.errors import InputError, InputWarning

if TYPE_CHECKING:  # decoding processes use this module, and must not load torch
    from torch import Tensor

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, with which it begins
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path next to ``path``; on success it is flushed to disk and renamed to ``path``.

    On an error the partial file is deleted and an existing file at ``path`` is left untouched. The
    temporary path keeps the file ending, because some writers choose the format by it.

    Raises:
        OSError: the folder is not writable, or the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem[:64]}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp's files are readable by their owner only
        temporary.replace(path)
        flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder to fill; on success it replaces ``path``, on an error it is deleted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)  # mkdtemp's folders are closed to other users, such as a web server
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_there(path: Path) -> bool:
    """Whether a path exists; a text too long for the name of a file names none."""
    try:
        return path.exists()
    except OSError:
        return False


def natural_key(path: Path) -> list[tuple[int, str]]:
    """Sorts file names as people do: frame2.png before frame10.png."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def flush_folder(folder: Path) -> None:
    """Flushes a folder's entries to disk, so that a rename in it survives a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_text(path: str | Path) -> str:
    """Reads a text file, see :func:`decode_text`.

    Raises:
        InputError: the file cannot be read, or is not a text.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return decode_text(data, path)


def decode_text(data: bytes, path: str | Path) -> str:
    """Decodes a text in UTF-8 or UTF-16; any other is taken for Windows-1252, with a warning.

    Args:
        path: of the file, for messages.

    Raises:
        InputError: the file is not a text.
    """
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if data.startswith(mark)), "")
    if not encoding:
        # Text without a mark: in UTF-16, every second byte of ASCII characters is zero.
        zeros = (data[:2000:2].count(0), data[1:2000:2].count(0))
        encoding = "utf-8" if not any(zeros) else ("utf-16-be" if zeros[0] > zeros[1] else "utf-16-le")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
        if "\0" not in text:
            warnings.warn(
                f"{path}: is not UTF-8 and was read as Windows-1252 (Latin-1); if names come out wrong, save "
                "it as UTF-8",
                InputWarning,
                stacklevel=4,
            )
    if "\0" in text:
        raise InputError(f"{path}: is not a text file")
    return text if "\n" in text else text.replace("\r", "\n")  # line ends of old Macs


def write_text(path: str | Path, text: str) -> None:
    """Writes a UTF-8 text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes a safetensors file atomically.

    Args:
        metadata: strings to store in the file's header.

    Raises:
        OSError: the file cannot be written; ``errno`` is ENOSPC if the disk is full.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(on_cpu, temporary, {"format": "pt", **(metadata or {})})
        except SafetensorError as error:
            # safetensors raises its own error, without an errno, when it cannot write.
            code = errno.ENOSPC if "No space left" in str(error) else errno.EIO
            raise OSError(code, str(error), str(path)) from error
