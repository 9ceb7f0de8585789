"""Counts the random numbers that torch draws."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class RandomNumbers(TorchDispatchMode):
    """``with RandomNumbers() as drawn: ...``; then ``drawn.count`` numbers were drawn.

    Fused attention counts as random in torch because it may drop out; these models have it without dropout.
    """

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if torch.Tag.nondeterministic_seeded in func.tags and "attention" not in func._schema.name:
            self.count += sum(x.numel() for x in tree_leaves(result) if isinstance(x, torch.Tensor))
        return result
