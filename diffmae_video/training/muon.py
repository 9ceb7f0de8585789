"""Muon for the matrices of transformer blocks, AdamW for all other parameters, as one optimizer.

Muon (Jordan et al. 2024; Liu et al. 2025, arXiv 2502.16982) orthogonalises the momentum of each matrix. Its
update has the size of AdamW's, so both take the same learning rate and weight decay. It equals
torch.optim.Muon's with ``match_rms_adamw``.

Block Muon orthogonalises blocks of at most ``BLOCK_ROWS`` rows of a matrix, each on its own; rows run along
the shorter side (our choice; see docs/learning.md). It costs a fraction of Muon, whose products grow with the
square of that side.
"""

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from diffmae_video.errors import InputError

MOMENTUM = "momentum_buffer"  # its name in the state, as torch.optim.Muon's
MOMENTUM_DECAY = 0.95
COEFFICIENTS, ITERATIONS = (3.4445, -4.775, 2.0315), 5  # of Newton-Schulz (Jordan et al. 2024)
BLOCK_ROWS = 64
ADAM_RMS = 0.2  # the usual size of a weight's step in AdamW, in learning rates (Liu et al. 2025)


def is_block_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether Muon updates a parameter: it is a matrix inside a transformer block."""
    return parameter.ndim == 2 and "blocks" in name.split(".")


class MuonAdamW(torch.optim.Optimizer):
    """Muon on the groups with ``muon`` set, fused AdamW on the others.

    The parameters of a Muon group have the state ``momentum_buffer``; the others have AdamW's.

    Args:
        groups: see :func:`~diffmae_video.training.optimizer.parameter_groups`.
        betas: of AdamW.
        by_blocks: Block Muon in place of Muon.

    Raises:
        InputError: no group is for Muon.
    """

    def __init__(
        self, groups: list[dict[str, Any]], betas: tuple[float, float], by_blocks: bool = False
    ) -> None:
        if not any(group["muon"] for group in groups):
            raise InputError(
                "TRAIN.OPTIMIZER muon: this model has no transformer blocks whose matrices it could update; "
                "set TRAIN.OPTIMIZER adamw"
            )
        super().__init__(groups, {"lr": 0.0})
        # It holds this optimizer's own groups and state, so whoever changes those changes its own.
        others = [group for group in self.param_groups if not group["muon"]]
        self.adamw = torch.optim.AdamW(others, lr=0.0, betas=betas, fused=True)
        self.adamw.state = self.state
        self.found_inf: Tensor | None = None
        self.by_blocks = by_blocks

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Updates all parameters; does nothing if ``found_inf`` is set and not 0."""
        if self.found_inf is not None and bool(self.found_inf):
            return
        for group in self.param_groups:
            if group["muon"]:
                self._update_matrices(group)
        self.adamw.step()

    def _update_matrices(self, group: dict[str, Any]) -> None:
        matrices = [p for p in group["params"] if p.grad is not None]
        gradients: list[Tensor] = [p.grad for p in matrices]
        for p in matrices:
            if MOMENTUM not in self.state[p]:
                self.state[p][MOMENTUM] = torch.zeros_like(p)
        momenta = [self.state[p][MOMENTUM] for p in matrices]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM_DECAY)
        updates = torch._foreach_lerp(gradients, momenta, MOMENTUM_DECAY)  # Nesterov's
        torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
        by_shape: dict[tuple[int, int], list[int]] = defaultdict(list)
        for i, update in enumerate(updates):
            by_shape[min(update.shape), max(update.shape)].append(i)
        for shape, places in by_shape.items():
            wide = [updates[i] if updates[i].shape == shape else updates[i].T for i in places]
            rows = block_rows(shape[0]) if self.by_blocks else shape[0]
            blocks = torch.stack(wide).view(-1, rows, shape[1])
            steps = orthogonalise(blocks).view(-1, *shape).unbind(0)
            torch._foreach_add_(
                [matrices[i] for i in places],
                [x if updates[i].shape == shape else x.T for i, x in zip(places, steps, strict=True)],
                alpha=-group["lr"] * ADAM_RMS * math.sqrt(shape[1]),
            )


def block_rows(rows: int) -> int:
    """The rows of each block of a matrix: the largest divisor of its rows up to ``BLOCK_ROWS``."""
    return next(size for size in range(min(rows, BLOCK_ROWS), 0, -1) if rows % size == 0)


def orthogonalise(matrices: Tensor) -> Tensor:
    """Brings the singular values of matrices [n, rows, columns], no taller than wide, near to 1; bfloat16.

    torch.optim.Muon's Newton-Schulz iterations, for matrices of one shape together: a small model's step
    would otherwise consist of hundreds of tiny operations.
    """
    a, b, c = COEFFICIENTS
    x = matrices.bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x
