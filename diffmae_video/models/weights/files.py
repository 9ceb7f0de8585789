"""Weights of any origin as a dict of tensors. Nothing in a file is run: tensors and plain values only."""

from __future__ import annotations

import argparse
import contextlib
import json
import pickle
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from diffmae_video.errors import InputError
from diffmae_video.models.pretrained import CONFIG, WEIGHTS

# What a folder may hold, first come first served: ours, HF's and timm's, then their older form.
FOLDER_WEIGHTS = (WEIGHTS, "pytorch_model.bin")
# Under what key training programs keep a model's weights in their checkpoints.
WRAPPERS = ("model", "module", "model_state", "state_dict", "model_state_dict")
# What DistributedDataParallel and torch.compile put before every key.
WRAPPING_MODULES = ("module.", "_orig_mod.")


class Checkpoint(NamedTuple):
    """A file's content.

    Attributes:
        path: what the user gave: a file or a folder; errors name it.
        weights: key -> tensor, as the file has them, without wrappers.
        config: config.json of the folder; empty where there is none.
    """

    path: Path
    weights: dict[str, Tensor]
    config: dict[str, Any]


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Reads a .safetensors file, a file of ``torch.save``, or a folder with one of them.

    Raises:
        InputError: nothing is there, it is broken, or it needs more than tensors and plain values.
    """
    path = Path(path)
    file = path
    if path.is_dir():
        names = [name for name in FOLDER_WEIGHTS if (path / name).is_file()]
        if not names:
            raise InputError(
                f"{path}: no {' or '.join(FOLDER_WEIGHTS)} in this folder; give the file of weights"
            )
        file = path / names[0]
    elif not path.is_file():
        raise InputError(f"{path}: no such file or folder")
    config = read_config(file.parent) if file.name in FOLDER_WEIGHTS else {}
    content = read_safetensors(file) if file.suffix == ".safetensors" else read_pickle(file)
    return Checkpoint(path, unwrap(content, path), config)


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a folder; empty where there is none.

    Raises:
        InputError: it is no JSON object.
    """
    file = folder / CONFIG
    if not file.is_file():
        return {}
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not valid JSON ({error})") from error
    if not isinstance(config, dict):
        raise InputError(f"{file}: not a JSON object")
    return config


def read_safetensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file}: not a whole safetensors file ({error}); copy or save it again") from error


def read_pickle(file: Path) -> Any:
    """What ``torch.save`` wrote, by torch's restricted unpickler.

    argparse.Namespace is let through, a plain holder of values: MAE and VideoMAE keep their
    options in one, beside the weights.
    """
    # torch 2.4 has no such context; there a file with a Namespace is refused as others are.
    allow = getattr(torch.serialization, "safe_globals", lambda _: contextlib.nullcontext())
    try:
        with allow([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the pickle's protocol: the error below says more
            return torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # from arbitrary bytes the unpickler raises anything, KeyError too
        foreign = re.search(r"(?:Unsupported global: GLOBAL|Unsupported class) ([\w.]+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and foreign:
            raise InputError(
                f"{file}: holds a {foreign[1]}, and only tensors and plain values are read, since more could "
                "run code; save the state_dict alone, with torch.save or safetensors"
            ) from error
        raise InputError(f"{file}: not a whole checkpoint of torch.save; copy or save it again") from error


def unwrap(content: Any, path: Path) -> dict[str, Tensor]:
    """Finds the state_dict in a checkpoint: under the known keys, nested or not, without wrapping modules'.

    Raises:
        InputError: there is none.
    """
    while isinstance(content, dict):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, dict) or not any(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{path}: no weights here, nor under the keys {', '.join(WRAPPERS)}")
    others = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise InputError(f"{path}: not tensors: {', '.join(others)}; save the state_dict alone")
    weights = {str(key): value for key, value in content.items()}
    while prefix := next((p for p in WRAPPING_MODULES if all(key.startswith(p) for key in weights)), None):
        weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    return weights
