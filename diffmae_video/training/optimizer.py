"""The optimizer's parameter groups, and the learning rate."""

from __future__ import annotations

from typing import Any

import torch
from fvcore.common.param_scheduler import CompositeParamScheduler, CosineParamScheduler, LinearParamScheduler
from torch import nn

from diffmae_video.models.backbone import Backbone

NOT_DECAYED = ("positions", "wpe", "wte")  # tables by position or by token, as in GPT's training


def parameter_groups(model: nn.Module, weight_decay: float, layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """AdamW's groups: weight decay on matrices only, not on biases, norms, positions and tokens.

    Args:
        layer_decay: below 1, for fine-tuning a backbone or a classifier: the rate of each layer is that
            of the next times this. The backbone says what its layers are; what is in none of them, final norm
            and head, is the last one, which has the whole rate (as MAE; timm's norm goes with the last
            block). Groups then carry ``lr_scale``.
    """
    layer_of: dict[int, int] = {}
    depth = 0
    if layer_decay != 1:
        layers = (model if isinstance(model, Backbone) else model.recognition_part()).layers()  # type: ignore[operator]
        depth = len(layers) - 1
        layer_of = {id(p): i for i, layer in enumerate(layers) for p in layer}
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_embedding = name.endswith("token") or any(part in NOT_DECAYED for part in name.split("."))
        is_matrix = parameter.ndim > 1 and not is_embedding
        layer = layer_of.get(id(parameter), depth + 1)
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
