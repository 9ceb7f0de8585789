"""What memory a training step takes on each GPU, by formula.

Counted is what lives from forward to backward, and the state of the optimizer. Not counted: buffers of
communication, what an allocator leaves unused, and the CUDA context.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fvcore.common.config import CfgNode

from diffmae_video.build import mask_arguments
from diffmae_video.cost.flops import meta_model
from diffmae_video.errors import InputError
from diffmae_video.masks import Mask
from diffmae_video.models import DiffMAE, MaskedAutoencoder
from diffmae_video.models.decoder import Decoder

# Tensors [tokens, width] that a pre-norm block keeps for backward, attention being fused: a norm's input
# and output, q, k, v and the output of attention; a norm's input and output, and the MLP's 4-wide hidden
# layer before and after GELU.
ATTENTION, MLP = 6, 10
CROSS_ATTENTION = 4  # as above, but for keys and values, which have the context's length


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU.

    Attributes:
        weights, gradients: in the precision of the model.
        optimizer: AdamW's moments, the moving average, and a float32 copy of the weights where the
            engine keeps one.
        activations: what forward leaves for backward, and the block that backward is at.
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations


@dataclass(frozen=True)
class Footprint:
    """What a model takes, however many GPUs share it.

    Attributes:
        parameters: of the model.
        size: bytes of a value in the model's precision; ``auto`` is taken as bf16.
        is_averaged: whether there is a moving average of the weights.
        clip, clip_checkpointed: bytes of activations for one clip, without and with checkpointing.
    """

    parameters: int
    size: int
    is_averaged: bool
    clip: float
    clip_checkpointed: float

    @classmethod
    def of(cls, cfg: CfgNode) -> Footprint:
        """That of a config's training step.

        Raises:
            InputError: the config makes no masked autoencoder, or its mask does not fit the clips.
        """
        model, mask = meta_model(cfg), mask_arguments(cfg)
        if not isinstance(model, MaskedAutoencoder):
            raise InputError(f"MODEL.OBJECTIVE {cfg.MODEL.OBJECTIVE}: there is no formula for its memory")
        size = 4 if cfg.TRAIN.PRECISION == "fp32" else 2
        clip, checkpointed = (sum(activation_bytes(model, mask, size, c)) for c in (False, True))
        return cls(sum(p.numel() for p in model.parameters()), size, cfg.TRAIN.EMA > 0, clip, checkpointed)

    def on_gpu(self, world: int, zero_stage: int, checkpointing: bool, clips: int) -> Memory:
        """The memory on each of ``world`` GPUs.

        What a ZeRO stage splits over the GPUs: 1 the optimizer, 2 the gradients too, 3 the weights too
        (Rajbhandari et al. 2020, figure 1).

        Args:
            checkpointing: keep only what enters a block, and compute the rest again in backward.
            clips: of one forward on one GPU.
        """
        has_copy = self.size == 2 or zero_stage > 0  # DeepSpeed keeps one of float32 too, if it splits
        values = 2 + has_copy + self.is_averaged
        weights, gradients, optimizer = (1 / world if zero_stage >= stage else 1.0 for stage in (3, 2, 1))
        return Memory(
            weights=self.size * self.parameters * weights,
            gradients=self.size * self.parameters * gradients,
            optimizer=4 * values * self.parameters * optimizer,
            activations=clips * (self.clip_checkpointed if checkpointing else self.clip),
        )


def estimate_memory(cfg: CfgNode, world: int, zero_stage: int) -> Memory:
    """The memory of a config's own training step on each of ``world`` GPUs."""
    clips = cfg.TRAIN.BATCH_SIZE * cfg.DATA.REPEATS
    return Footprint.of(cfg).on_gpu(world, zero_stage, cfg.TRAIN.ACTIVATION_CHECKPOINTING, clips)


def activation_bytes(
    model: MaskedAutoencoder, mask_arguments: dict[str, Any], size: int, checkpointing: bool
) -> tuple[float, float]:
    """Of one clip: what a forward leaves for backward, and what backward takes beside it.

    The latter is the gradient of the input and of the output of the largest MLP's hidden layer, and
    with checkpointing what a block computes again.

    Args:
        mask_arguments: ``kind`` and ``ratio`` of the masks.
        size: of a value in bytes, 4 or 2; targets and predictions are in float32.
    """
    encoder, decoder = model.encoder, model.decoder
    mask = Mask.draw(batch=1, grid=encoder.grid, **mask_arguments)
    visible, masked = mask.visible.shape[1], mask.masked.shape[1]
    if isinstance(model, DiffMAE):
        masked = max(1, round(masked * model.decode_fraction))
    seen = visible + (encoder.cls_token is not None)
    patch, narrow, depth = decoder.head.out_features, decoder.head.in_features, len(decoder.blocks)

    # [tokens, width] of a block, and values that it keeps beside its input
    encoder_block = seen * encoder.width
    cross = isinstance(decoder, Decoder) and decoder.kind != "joint"
    if cross:
        decoder_block = masked * narrow
        kept = CROSS_ATTENTION + (ATTENTION if decoder.kind == "cross_self" else 0) + MLP
        context = 2 * seen * narrow * depth + seen * encoder.width * len(decoder.taps)
    else:
        decoder_block = (seen + masked) * narrow
        kept = ATTENTION + MLP
        context = seen * encoder.width
    blocks = [(encoder_block, ATTENTION + MLP, encoder.depth), (decoder_block, kept, depth)]
    between = sum(width * count * (1 if checkpointing else each) for width, each, count in blocks)
    around = visible * patch + encoder_block + context + 2 * masked * narrow  # embedding; norms and head
    if isinstance(model, DiffMAE):
        around += masked * patch  # noised patches, as they are embedded
    kept_bytes = size * (between + around) + 4 * 2 * masked * patch  # prediction and target
    largest = max(width for width, _, _ in blocks)
    again = max(width * (each - 1) for width, each, _ in blocks) if checkpointing else 0
    return kept_bytes, size * (again + 8 * largest)
