"""Random generators that depend on a key alone, so that a resumed run draws what the first one drew."""

from __future__ import annotations

import numpy as np
import torch


def random_state(*key: int) -> torch.Generator:
    """A CPU generator seeded by a tuple of whole numbers and nothing else."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.Generator().manual_seed(seed)
