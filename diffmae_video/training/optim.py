"""The optimizer's parameter groups, and the learning rate."""

from __future__ import annotations

import re
from typing import Any

import torch
from fvcore.common.param_scheduler import CompositeParamScheduler, CosineParamScheduler, LinearParamScheduler
from torch import nn


def parameter_groups(model: nn.Module, weight_decay: float, layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """AdamW's groups: weight decay on matrices only, not on biases, norms, positions and tokens.

    Args:
        layer_decay: below 1, for fine-tuning an encoder or a classifier: the rate of each layer is that
            of the next times this. Embedding, positions and class token are the first layer; final norm
            and head are the last one, which has the whole rate (as MAE; timm's norm goes with the last
            block). Groups then carry ``lr_scale``.
    """
    depth = len({match[1] for name, _ in model.named_parameters() if (match := BLOCK.search(name))})
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_matrix = parameter.ndim > 1 and "positions" not in name and not name.endswith("token")
        layer = depth + 1 if layer_decay == 1 else _layer(name, depth)
        groups.setdefault((layer, is_matrix), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": weight_decay if is_matrix else 0.0,
            "lr_scale": layer_decay ** (depth + 1 - layer),
        }
        for (layer, is_matrix), parameters in sorted(
            groups.items(), key=lambda item: (item[0][0], not item[0][1])
        )
    ]


BLOCK = re.compile(r"(?:^|\.)blocks\.(\d+)\.")
FIRST = ("patch_embed", "positions", "cls_token")


def _layer(name: str, depth: int) -> int:
    block = BLOCK.search(name)
    if block:
        return 1 + int(block[1])
    return 0 if any(part in name.split(".") for part in FIRST) else depth + 1


def build_optimizer(
    model: nn.Module, weight_decay: float, betas: tuple[float, float], layer_decay: float = 1.0
) -> torch.optim.AdamW:
    """AdamW, in one fused kernel on CPU and on GPU."""
    groups = parameter_groups(model, weight_decay, layer_decay)
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, fused=True)


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
