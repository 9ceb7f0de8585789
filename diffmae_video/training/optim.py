"""The optimizer's parameter groups, and the learning rate."""

from __future__ import annotations

from typing import Any

import torch
from fvcore.common.param_scheduler import CompositeParamScheduler, CosineParamScheduler, LinearParamScheduler
from torch import nn


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """AdamW's groups: weight decay on matrices only, not on biases, norms, positions and tokens."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_matrix = parameter.ndim > 1 and "positions" not in name and not name.endswith("token")
        (decayed if is_matrix else free).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def build_optimizer(model: nn.Module, weight_decay: float, betas: tuple[float, float]) -> torch.optim.AdamW:
    """AdamW, in one fused kernel on CPU and on GPU."""
    return torch.optim.AdamW(parameter_groups(model, weight_decay), lr=0.0, betas=betas, fused=True)


class WarmupCosine:
    """The learning rate of a step: linear warm-up from 0, then half a cosine down to 0."""

    def __init__(self, peak: float, steps: int, warmup: int) -> None:
        warmup = min(warmup, max(0, steps - 1))
        self.steps = steps
        cosine = CosineParamScheduler(peak, 0.0)
        if warmup:
            share = warmup / steps
            self.schedule: Any = CompositeParamScheduler(
                [LinearParamScheduler(0.0, peak), cosine], [share, 1 - share], ["rescaled", "rescaled"]
            )
        else:
            self.schedule = cosine

    def __call__(self, step: int) -> float:
        """The rate of step 0 to steps - 1; step 0 has that of the middle of its stretch, above 0."""
        return float(self.schedule((step + 0.5) / self.steps))
