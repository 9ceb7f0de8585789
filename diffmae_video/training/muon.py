"""Muon for the matrices of transformer blocks, AdamW for all other parameters, as one optimizer.

Muon (Jordan et al. 2024; Liu et al. 2025, arXiv 2502.16982) orthogonalises the momentum of each matrix. Its
update has the size of AdamW's (``match_rms_adamw``), so both take the same learning rate and weight decay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from diffmae_video.errors import InputError


def is_block_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether Muon updates a parameter: it is a matrix inside a transformer block."""
    return parameter.ndim == 2 and "blocks" in name.split(".")


class MuonAdamW(torch.optim.Optimizer):
    """Muon on the groups with ``muon`` set, fused AdamW on the others.

    The parameters of a Muon group have the state ``momentum_buffer``; the others have AdamW's.

    Args:
        groups: see :func:`~diffmae_video.training.optimizer.parameter_groups`.
        betas: of AdamW.

    Raises:
        InputError: no group is for Muon, or the installed torch has no Muon.
    """

    def __init__(self, groups: list[dict[str, Any]], betas: tuple[float, float]) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise InputError(
                f"TRAIN.OPTIMIZER muon needs torch 2.9 or later, and {torch.__version__} is installed; "
                "upgrade torch, or set TRAIN.OPTIMIZER adamw"
            )
        if not any(group["muon"] for group in groups):
            raise InputError(
                "TRAIN.OPTIMIZER muon: this model has no transformer blocks whose matrices it could update; "
                "set TRAIN.OPTIMIZER adamw"
            )
        super().__init__(groups, {"lr": 0.0})
        # Both hold this optimizer's own groups and state, so whoever changes those changes theirs.
        matrices = [group for group in self.param_groups if group["muon"]]
        others = [group for group in self.param_groups if not group["muon"]]
        self.muon = torch.optim.Muon(matrices, lr=0.0, adjust_lr_fn="match_rms_adamw")
        self.adamw = torch.optim.AdamW(others, lr=0.0, betas=betas, fused=True)
        self.muon.state = self.adamw.state = self.state
        self.found_inf: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Updates all parameters; does nothing if ``found_inf`` is set and not 0."""
        if self.found_inf is not None and bool(self.found_inf):
            return
        self.muon.step()
        self.adamw.step()
