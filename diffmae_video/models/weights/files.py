"""Reads files of weights: safetensors, torch.save, folders, and models in several shards.

Nothing in a file is executed: only tensors and plain values are read.
"""

import argparse
import contextlib
import errno
import json
import logging
import pickle
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from diffmae_video.errors import InputError
from diffmae_video.models.pretrained import CONFIG, WEIGHTS
from diffmae_video.models.weights.unwrap import unwrap

logger = logging.getLogger(__name__)

# The files of weights in a folder, in Hugging Face's order of preference. The first is ours and timm's too.
FOLDER_WEIGHTS = (
    WEIGHTS,
    f"{WEIGHTS}.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
INDEX = re.compile(r"\.index(\.\w+)?\.json$")
SHARD = re.compile(r"-\d{5}-of-(?!00001)\d{5}\.\w+$")  # model-00001-of-00002.safetensors
SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".ckpt")


class Checkpoint(NamedTuple):
    """The weights of a file or folder."""

    path: Path  # the path that the user gave; errors name it
    weights: dict[str, Tensor]  # key -> tensor, as in the file
    # the folder's config.json; empty if there is none, or if the file need not belong to it
    config: dict[str, Any]
    prefix: str  # what stood before every key and was removed


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Reads a .safetensors file, a file written by ``torch.save``, or a folder that holds one.

    A sharded model is read whole, from its folder, its index.json or any of its shards.

    Raises:
        InputError: the path does not exist, the file is damaged or a shard is missing, or it holds objects
            other than tensors and plain values.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    file = _weights_in(path) if path.is_dir() else path
    index = file if INDEX.search(file.name) else _index_of(file)
    if index is None:
        content = read_file(file)
    else:
        if path == file != index:
            logger.warning("%s: is one shard of a model; reads all shards in %s", path, index.name)
        content = read_shards(index)
    config = read_config(file.parent) if index or file.name in FOLDER_WEIGHTS else {}
    weights, prefix = unwrap(content, path)
    return Checkpoint(path, weights, config, prefix)


def _weights_in(folder: Path) -> Path:
    """The file of weights in a folder, or the index of its shards."""
    for name in FOLDER_WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    names = sorted(entry.name for entry in folder.iterdir() if _may_hold_weights(entry))
    if any(SHARD.search(name) for name in names):
        raise InputError(
            f"{folder}: has shards of a model but no index, {FOLDER_WEIGHTS[1]} or {FOLDER_WEIGHTS[3]}"
        )
    remedy = f"give one of these: {first_of(names)}" if names else "give the file of weights"
    raise InputError(f"{folder}: no {FOLDER_WEIGHTS[0]} or {FOLDER_WEIGHTS[2]} in this folder; {remedy}")


def _may_hold_weights(entry: Path) -> bool:
    if entry.is_dir():
        return any((entry / name).is_file() for name in FOLDER_WEIGHTS)
    return entry.suffix in SUFFIXES


def _index_of(file: Path) -> Path | None:
    """The index that lists a file as a shard; None for a whole model.

    Raises:
        InputError: the file's name says that it is a shard, and no index lists it.
    """
    if file.suffix in SUFFIXES:
        for index in sorted(file.parent.glob("*.index*.json")):
            if file.name in _weight_map(index).values():
                return index
    if SHARD.search(file.name):
        raise InputError(
            f"{file}: is one shard of a model; put all shards and their index.json into its folder"
        )
    return None


def read_shards(index: Path) -> dict[str, Any]:
    """Reads all shards that an index.json lists.

    Raises:
        InputError: the index is invalid, a shard is missing, or a shard lacks a key that it should hold.
    """
    weight_map = _weight_map(index)
    names = sorted(set(weight_map.values()))
    if absent := [name for name in names if not (index.parent / name).is_file()]:
        raise InputError(f"{index}: of its {len(names)} shards these are missing: {first_of(absent)}")
    weights: dict[str, Any] = {}
    for name in names:
        shard = read_file(index.parent / name)
        if not isinstance(shard, dict):
            raise InputError(f"{index.parent / name}: not a shard: it holds no state_dict")
        weights |= shard
    if absent := [key for key in weight_map if key not in weights]:
        raise InputError(
            f"{index}: its shards lack {first_of(absent)}; shards of different models may be mixed"
        )
    return weights


def _weight_map(index: Path) -> dict[str, str]:
    """key -> the name of the shard that holds it."""
    weight_map = read_json(index).get("weight_map")
    if (
        not isinstance(weight_map, dict)
        or not weight_map
        or not all(isinstance(name, str) and Path(name).name == name for name in weight_map.values())
    ):
        raise InputError(
            f"{index}: not the index of a sharded model: no weight_map of keys to files beside it"
        )
    return weight_map


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a folder; empty if there is none.

    Raises:
        InputError: the file is not a JSON object.
    """
    return read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}


def own_config(path: str | Path) -> dict[str, Any]:
    """config.json beside a path of weights, if it can be that of one of our models: a folder or its file.

    It is one if it has the key ``model``.

    Raises:
        InputError: the file is not a JSON object.
    """
    path = Path(path)
    if path.is_dir():
        return read_config(path)
    return read_config(path.parent) if path.name == WEIGHTS else {}


def read_json(file: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        InputError: the file is missing or not a JSON object.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: not a JSON object")
    return content


def read_file(file: Path) -> Any:
    """Reads one file by its suffix: safetensors, or what ``torch.save`` wrote."""
    return read_safetensors(file) if file.suffix == ".safetensors" else read_pickle(file)


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """Reads a safetensors file.

    Raises:
        InputError: the file is damaged or cannot be read.
    """
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file}: not a whole safetensors file ({error}); copy or save it again") from error


def read_pickle(file: Path) -> Any:
    """Reads what ``torch.save`` wrote, with torch's restricted unpickler.

    argparse.Namespace and NumPy's numbers and arrays are plain values too, and are allowed: training
    programs store their options and figures in them, beside the weights.

    Raises:
        InputError: the file is damaged, or holds an object of another class.
    """
    # torch 2.4 has no such context; it refuses these classes like any other.
    allow = getattr(torch.serialization, "safe_globals", lambda _: contextlib.nullcontext())
    try:
        with allow([argparse.Namespace, *_numpy_globals()]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle protocol; the error below says more
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # from arbitrary bytes the unpickler raises anything, KeyError too
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # of a file cut short
            raise
        foreign = re.search(r"(?:Unsupported global: GLOBAL|Unsupported class) ([\w.]+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and foreign:
            raise InputError(
                f"{file}: holds a {foreign[1]}, and only tensors and plain values are read, since more could "
                "run code; save the state_dict alone, with torch.save or safetensors"
            ) from error
        raise InputError(f"{file}: not a whole checkpoint of torch.save; copy or save it again") from error


def _numpy_globals() -> list[Any]:
    """The functions that NumPy's numbers and arrays are pickled with, under the names of NumPy 1 and 2."""
    scalar = np.float64(0).__reduce__()[0]
    array = np.zeros(1).__reduce__()[0]
    named = [
        (function, f"{module}.multiarray.{name}")
        for module in ("numpy.core", "numpy._core")
        for function, name in ((scalar, "scalar"), (array, "_reconstruct"))
    ]
    types = {type(np.dtype(kind)) for kind in (*np.typecodes["AllInteger"], *np.typecodes["Float"], "?", "U")}
    return [*named, np.ndarray, np.dtype, *sorted(types, key=str)]


def first_of(names: Sequence[str], most: int = 8) -> str:
    """The first names, separated by commas, and the number of the others."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
