"""The optimizer's parameter groups, and the learning rate."""

from typing import Any

import torch
from fvcore.common.param_scheduler import CompositeParamScheduler, CosineParamScheduler, LinearParamScheduler
from torch import nn

from diffmae_video.training.muon import MuonAdamW, is_block_matrix


def parameter_groups(
    model: nn.Module, weight_decay: float, layer_decay: float = 1.0, muon: bool = False
) -> list[dict[str, Any]]:
    """The optimizer's groups. Weight decay applies to matrices only, and not to those a module exempts.

    Biases and norms are vectors. A module exempts position tables, tokens and the like by a method
    ``no_weight_decay()``, which returns names of its parameters (timm's convention).

    Args:
        layer_decay: below 1, for fine-tuning a backbone or a classifier: each layer's rate is that of the
            next layer times this. The backbone lists its layers; the final norm and the head are in none
            and have the full rate (as in MAE; timm puts the norm with the last block).
        muon: put the matrices of transformer blocks into groups of their own.

    Returns:
        Groups with ``params``, ``weight_decay``, ``lr_scale`` and ``muon``, whether Muon updates them.
    """
    layer_of: dict[int, int] = {}
    depth = 0
    if layer_decay != 1:
        layers = model.backbone().layers()  # type: ignore[operator]
        depth = len(layers) - 1
        layer_of = {id(p): i for i, layer in enumerate(layers) for p in layer}
    exempt = _exempt(model)
    groups: dict[tuple[int, bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_decayed = parameter.ndim > 1 and name not in exempt
        layer = layer_of.get(id(parameter), depth + 1)
        key = (layer, is_decayed, muon and is_decayed and is_block_matrix(name, parameter))
        groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": weight_decay if is_decayed else 0.0,
            "lr_scale": layer_decay ** (depth + 1 - layer),
            "muon": is_muon,
        }
        for (layer, is_decayed, is_muon), parameters in sorted(
            groups.items(), key=lambda item: (item[0][0], not item[0][1], not item[0][2])
        )
    ]


def _exempt(model: nn.Module) -> set[str]:
    """The names of all parameters that a module of the model exempts from weight decay."""
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        if hasattr(module, "no_weight_decay")
        for name in module.no_weight_decay()
    }


def build_optimizer(
    model: nn.Module,
    weight_decay: float,
    betas: tuple[float, float],
    layer_decay: float = 1.0,
    kind: str = "adamw",
) -> torch.optim.Optimizer:
    """AdamW, in one fused kernel on CPU and on GPU, or with ``kind`` muon or block_muon :class:`MuonAdamW`.

    Raises:
        InputError: see :class:`~diffmae_video.training.muon.MuonAdamW`.
    """
    is_muon = kind != "adamw"
    groups = parameter_groups(model, weight_decay, layer_decay, is_muon)
    if is_muon:
        return MuonAdamW(groups, betas, by_blocks=kind == "block_muon")
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
        """The rate of a step, 0 to steps - 1; taken at the step's middle, so that step 0 is above 0."""
        return float(self.schedule((step + 0.5) / self.steps))
