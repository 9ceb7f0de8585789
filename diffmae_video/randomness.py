"""Random generators seeded by a key, so that a resumed run draws the same numbers as an unbroken one."""

import numpy as np
import torch


def random_state(*key: int) -> torch.Generator:
    """A CPU generator whose seed depends only on a tuple of non-negative integers."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.Generator().manual_seed(seed)
