"""Finds a model's state_dict in the checkpoint of any training program."""

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffmae_video.errors import InputError

logger = logging.getLogger(__name__)

# The keys under which most training programs store the weights, in order of preference.
USUAL_KEYS = ("model", "module", "model_state", "state_dict", "model_state_dict")
# DistributedDataParallel and torch.compile put these before every key,
WRAPPERS = ("module.", "_orig_mod.", "_fsdp_wrapped_module.")
# and torch.compile, FSDP and activation checkpointing these before the keys of the modules that they wrap.
INNER_WRAPPERS = re.compile(r"(?<=\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")


def unwrap(content: Any, path: Path) -> tuple[dict[str, Tensor], str]:
    """The state_dict in a checkpoint.

    It is taken from one of USUAL_KEYS, nested or not. If none of them is there, the weights under all other
    keys are taken, each with its key as a prefix: ``{"teacher": {"norm.weight": ...}}`` gives
    ``teacher.norm.weight``.

    Args:
        content: what the file holds.
        path: named in errors and log lines.

    Returns:
        The weights, and the wrappers' prefix that was removed from all keys ("" if none was).

    Raises:
        InputError: there are no weights, or other values stand between them.
    """
    while isinstance(content, dict):
        models = [key for key, value in content.items() if _is_model(key, value)]
        usual = next((key for key in USUAL_KEYS if key in models), None)
        if usual is None:
            break
        if others := [key for key in models if key != usual]:
            logger.warning("%s: reads the weights under %r, not under %s", path, usual, ", ".join(others))
        content = content[usual]
    weights, others = _flatten(content) if isinstance(content, dict) else ({}, [])
    if not weights:
        raise InputError(f"{path}: no weights here, nor under the keys {', '.join(USUAL_KEYS)}")
    if others and not any(isinstance(value, dict) for value in content.values()):
        raise InputError(f"{path}: not tensors: {', '.join(others)}; save the state_dict alone")
    removed = ""
    while prefix := next((p for p in WRAPPERS if all(key.startswith(p) for key in weights)), None):
        weights = {key.removeprefix(prefix): value for key, value in weights.items()}
        removed += prefix
    if inner := sorted({match[0] for key in weights for match in INNER_WRAPPERS.finditer(key)}):
        logger.warning("%s: removed %s from within its keys", path, ", ".join(map(repr, inner)))
        weights = {INNER_WRAPPERS.sub("", key): value for key, value in weights.items()}
    return weights, removed


def _is_model(key: Any, value: Any) -> bool:
    """Whether a checkpoint's entry holds weights, at any depth, and is not the state of an optimizer."""
    if not isinstance(key, str) or not isinstance(value, dict) or key.startswith("opt"):
        return False
    return any(_is_weight(inner) or _is_model(name, inner) for name, inner in value.items())


def _is_weight(value: Any) -> bool:
    """Whether a value is an array of numbers; random states are of bytes, and loss scales are scalars."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0 and value.dtype.kind == "f"
    return isinstance(value, Tensor) and value.ndim > 0 and value.is_floating_point()


def _flatten(content: dict[Any, Any], prefix: str = "") -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of nested dicts under dotted keys, and the keys of all other values."""
    weights: dict[str, Tensor] = {}
    others: list[str] = []
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, Tensor):
            weights[name] = value
        elif isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            weights[name] = torch.from_numpy(value)
        elif _is_model(key, value):
            inner, inner_others = _flatten(value, f"{name}.")
            weights |= inner
            others += inner_others
        else:
            others.append(name)
    return weights, others
