"""The one place that chooses where a model computes."""

from __future__ import annotations

import torch


def default_device() -> torch.device:
    """The current GPU if there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
