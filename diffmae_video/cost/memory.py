"""The memory of a training step on each GPU, by formula.

Counts what forward keeps for backward, and the state of the optimizer. Does not count communication buffers,
fragmentation of the allocator, or the CUDA context.
"""

from __future__ import annotations

from dataclasses import dataclass

from diffmae_video.masks import Mask
from diffmae_video.models import PretrainingModel
from diffmae_video.models.activations import Activations


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU."""

    # weights, gradients: in the precision of the model
    weights: float
    gradients: float
    # AdamW's moments, the moving average, and a float32 copy of the weights where the engine keeps one
    optimizer: float
    activations: float  # what forward keeps for backward, and the block that backward works on

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations


@dataclass(frozen=True)
class Footprint:
    """The memory of a model, before it is divided among GPUs."""

    parameters: int  # of the model
    size: int  # bytes of a value in the model's precision; auto is taken as bf16
    is_averaged: bool  # whether there is a moving average of the weights
    # clip, clip_checkpointed: bytes of activations for one clip, without and with checkpointing
    clip: float
    clip_checkpointed: float

    @classmethod
    def of(cls, model: PretrainingModel, precision: str, is_averaged: bool) -> Footprint | None:
        """The footprint of a training step; None if there is no formula for the model.

        Args:
            model: on any device, also meta.
            precision: of TRAIN.PRECISION.
            is_averaged: whether there is a moving average of the weights.

        Raises:
            InputError: the mask does not fit the clips.
        """
        mask = None if model.mask is None else Mask.draw(batch=1, grid=model.grid, **model.mask)
        kept = model.activations(mask)
        if kept is None:
            return None
        size = 4 if precision == "fp32" else 2
        clip, checkpointed = (sum(activation_bytes(kept, size, c)) for c in (False, True))
        return cls(sum(p.numel() for p in model.parameters()), size, is_averaged, clip, checkpointed)

    def on_gpu(self, world: int, zero_stage: int, checkpointing: bool, clips: int) -> Memory:
        """The memory on each of ``world`` GPUs.

        ZeRO stage 1 splits the optimizer's state over the GPUs, stage 2 the gradients too, and stage 3 the
        weights too (Rajbhandari et al. 2020, figure 1).

        Args:
            checkpointing: keep only the input of each block, and recompute the rest in backward.
            clips: per forward on one GPU.
        """
        has_copy = self.size == 2 or zero_stage > 0  # in float32, DeepSpeed keeps a copy only if it splits it
        values = 2 + has_copy + self.is_averaged
        weights, gradients, optimizer = (1 / world if zero_stage >= stage else 1.0 for stage in (3, 2, 1))
        return Memory(
            weights=self.size * self.parameters * weights,
            gradients=self.size * self.parameters * gradients,
            optimizer=4 * values * self.parameters * optimizer,
            activations=clips * (self.clip_checkpointed if checkpointing else self.clip),
        )


def activation_bytes(kept: Activations, size: int, checkpointing: bool) -> tuple[float, float]:
    """The bytes that a forward of one clip keeps for backward, and those that backward takes besides.

    Backward takes the gradients of the largest MLP's hidden layer, before and after GELU, and with
    checkpointing what a block recomputes.

    Args:
        size: of a value in bytes, 4 or 2; targets and predictions are in float32.
    """
    in_blocks = sum(
        stack.tokens * stack.width * stack.depth * (1 if checkpointing else stack.kept)
        for stack in kept.stacks
    )
    largest = max(stack.tokens * stack.width for stack in kept.stacks)
    again = 0
    if checkpointing:
        again = max(stack.tokens * stack.width * (stack.kept - 1) for stack in kept.stacks)
    return size * (in_blocks + kept.values) + 4 * kept.outputs, size * (again + 8 * largest)
