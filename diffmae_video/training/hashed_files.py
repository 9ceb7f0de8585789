"""Files whose SHA-256 is taken as they are written, for a checkpoint's manifest.

Writing and hashing leave Python free to run other threads, as safetensors' own writer does not.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

CHUNK = 2**24  # bytes


def write_parts(path: Path, parts: Iterable[bytes | memoryview]) -> dict[str, Any]:
    """Writes a new file from its parts and flushes it to disk.

    Returns:
        Its ``size`` in bytes and its ``sha256``.

    Raises:
        OSError: the file cannot be written; ``errno`` is ENOSPC if the disk is full.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("wb") as file:
            for part in parts:
                view = memoryview(part)
                for start in range(0, len(view), CHUNK):
                    chunk = view[start : start + CHUNK]
                    file.write(chunk)
                    digest.update(chunk)
                size += len(view)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:  # Python's own message does not name the file
        raise OSError(error.errno, error.strerror, str(path)) from error
    return {"size": size, "sha256": digest.hexdigest()}


def write_float32(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Writes float32 tensors on the CPU as a safetensors file; returns and raises as :func:`write_parts`."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32:
            raise TypeError(f"{name} is {tensor.dtype}, not float32")
        start, end = end, end + 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format wants tensors to be aligned
    contents = (tensor.contiguous().view(-1).numpy().data.cast("B") for tensor in tensors.values())
    return write_parts(path, [len(text).to_bytes(8, "little"), text, *contents])


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()
