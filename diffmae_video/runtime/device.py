"""Chooses the device of everything but training runs, whose processes get theirs in ``processes.py``."""

from __future__ import annotations

import torch


def default_device() -> torch.device:
    """The current GPU if there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
