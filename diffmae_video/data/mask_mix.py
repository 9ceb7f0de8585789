"""A mixture of mask kinds, so that a model also learns to fill holes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class MaskMix:
    """Gives a share of the training steps other masks than the model's own.

    Kind and ratio are drawn for a whole step, as every clip of a batch masks the same number of patches.
    """

    kinds: tuple[str, ...]  # of masks, drawn uniformly
    share: float  # of the steps that take one of them
    ratio: tuple[float, float]  # (smallest, largest) share of the patches that they mask, drawn uniformly

    def draw(self, mask: Mapping[str, Any], generator: torch.Generator) -> Mapping[str, Any]:
        """``kind`` and ``ratio`` of a step's masks: those of ``mask``, or others."""
        chance, place = torch.rand(2, generator=generator).tolist()
        if chance >= self.share:
            return mask
        low, high = self.ratio
        kind = self.kinds[int(torch.randint(len(self.kinds), (), generator=generator))]
        return {"kind": kind, "ratio": low + (high - low) * place}
