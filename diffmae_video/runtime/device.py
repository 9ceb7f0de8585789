"""Chooses the device and the precision of everything but training runs, see ``processes.py``."""

from typing import TypeVar

import torch
from torch import nn

from diffmae_video.errors import InputError

Model = TypeVar("Model", bound=nn.Module)
SAMPLING_DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def default_device() -> torch.device:
    """The current GPU if there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def for_sampling(model: Model, precision: str) -> Model:
    """The model on the default device, with weights in a precision that :func:`sampling_dtype` takes."""
    device = default_device()
    return model.to(device, sampling_dtype(precision, device))


def sampling_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of the weights of a model that samples; x_t stays in float32 whatever it is.

    Args:
        precision: ``bf16``, ``fp32``, or ``auto``: bf16 on a GPU that computes in it, float32 elsewhere.

    Raises:
        InputError: another precision.
    """
    if precision == "auto":
        is_fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if is_fast else torch.float32
    if precision not in SAMPLING_DTYPES:
        raise InputError(f"precision {precision!r}: choose from auto, {', '.join(SAMPLING_DTYPES)}")
    return SAMPLING_DTYPES[precision]
