"""What a model's forward keeps for backward: counted by the models, turned into bytes by cost/memory.py."""

from __future__ import annotations

from typing import NamedTuple

# Tensors [tokens, width] that a pre-norm block keeps for backward with fused attention: a norm's input
# and output, q, k, v and the output of attention; a norm's input and output, and the MLP's 4-wide hidden
# layer before and after GELU.
ATTENTION, MLP = 6, 10
CROSS_ATTENTION = 4  # the same without keys and values, which have the context's length


class BlockStack(NamedTuple):
    """Equal blocks of a transformer."""

    # tokens, width, depth: of the stack
    tokens: int
    width: int
    depth: int
    kept: int  # tensors [tokens, width] that each block keeps, its input included


class Activations(NamedTuple):
    """What a forward of one clip keeps for backward."""

    stacks: list[BlockStack]  # the transformer blocks
    values: int  # numbers kept outside the blocks, in the model's precision
    outputs: int  # numbers kept in float32: prediction and target
