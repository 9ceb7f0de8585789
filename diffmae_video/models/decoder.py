"""The decoders: noised tokens in, their clean pixels out, conditioned on the encoder's latents.

Three kinds (DiffMAE, section on decoder design): ``cross`` attends to the visible latents only,
``cross_self`` adds self-attention among the noised tokens, ``joint`` is self-attention over both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffmae_video.errors import InputError
from diffmae_video.masks import Mask
from diffmae_video.models.activations import ATTENTION, CROSS_ATTENTION, MLP, Activations, BlockStack
from diffmae_video.models.block_kinds import mlp, norm_class, norm_layer
from diffmae_video.models.layers import (
    CrossAttention,
    Positions,
    SelfAttention,
    TimestepEmbedding,
    ViTBlock,
    initialize_linear,
)
from diffmae_video.models.rotary import Rotation
from diffmae_video.tokens import Triple

DECODERS = ("joint", "cross_self", "cross")

KeysValues = tuple[Tensor, Tensor]


def tapped_blocks(encoder_depth: int, decoder_depth: int) -> list[int]:
    """Which encoder block each decoder block reads: the deepest first, evenly spaced, the first last.

    Top-down connections are the paper's; even spacing where the depths differ is our choice.
    """
    if decoder_depth == 1:
        return [encoder_depth - 1]
    return [round((encoder_depth - 1) * (1 - i / (decoder_depth - 1))) for i in range(decoder_depth)]


class CrossBlock(nn.Module):
    """Cross-attention to visible latents, self-attention among noised tokens if asked for, MLP."""

    def __init__(
        self,
        width: int,
        context_width: int,
        heads: int,
        mlp_ratio: float,
        self_attention: bool,
        block: str,
        qk_norm: bool,
    ) -> None:
        super().__init__()
        norm = norm_class(block)
        self.norm1 = norm(width)
        self.cross = CrossAttention(width, context_width, heads, block, qk_norm)
        self.norm2 = norm(width) if self_attention else None
        self.attn = (
            SelfAttention(width, heads, qkv_bias=True, qk_norm=qk_norm, norm_layer=norm)
            if self_attention
            else None
        )
        self.norm3 = norm(width)
        self.mlp = mlp(block, width, mlp_ratio)

    def forward(self, x: Tensor, keys_values: KeysValues, rotation: Rotation | None = None) -> Tensor:
        x = x + self.cross(self.norm1(x), keys_values, rotation)
        if self.attn is not None and self.norm2 is not None:
            x = x + self.attn(self.norm2(x), rotation)
        return x + self.mlp(self.norm3(x))


class Decoder(nn.Module):
    """Predicts the patches behind noised tokens.

    Args:
        kind: ``joint``, ``cross_self`` or ``cross``.
        grid, patch: of the clips that the model is made for, in patches and pixels.
        encoder_width, encoder_depth: of the encoder that it reads.
        width, depth, heads, mlp_ratio: of its own blocks.
        positions: ``sincos``, ``sharp`` or ``rope``.
        timesteps: T of the noise schedule.
        block, qk_norm: see :class:`~diffmae_video.models.layers.ViTBlock`.

    Raises:
        InputError: an unknown kind, or a width that does not divide by the heads.
    """

    def __init__(
        self,
        kind: str,
        grid: Triple,
        patch: Triple,
        encoder_width: int,
        encoder_depth: int,
        width: int = 512,
        depth: int = 8,
        heads: int = 8,
        mlp_ratio: float = 4.0,
        positions: str = "sincos",
        timesteps: int = 1000,
        block: str = "vit",
        qk_norm: bool = False,
    ) -> None:
        super().__init__()
        if kind not in DECODERS:
            raise InputError(f"unknown decoder {kind!r}; choose from {', '.join(DECODERS)}")
        if width % heads:
            raise InputError(f"decoder width {width} does not divide by {heads} heads")
        self.kind, self.encoder_width = kind, encoder_width
        values = 3 * patch[0] * patch[1] * patch[2]
        self.noised_embed = nn.Linear(values, width)
        self.positions = Positions(positions, grid, width, width // heads)
        self.timestep = TimestepEmbedding(width, timesteps)
        if kind == "joint":
            self.block_taps = [0] * depth
            self.taps = [encoder_depth - 1]
            self.latent_embed = nn.Linear(encoder_width, width)
            self.blocks: Any = nn.ModuleList(
                ViTBlock(width, heads, mlp_ratio, block=block, qk_norm=qk_norm) for _ in range(depth)
            )
        else:
            blocks = tapped_blocks(encoder_depth, depth)
            self.taps = sorted(set(blocks), reverse=True)
            self.block_taps = [self.taps.index(i) for i in blocks]
            self.blocks = nn.ModuleList(
                CrossBlock(width, encoder_width, heads, mlp_ratio, kind == "cross_self", block, qk_norm)
                for _ in range(depth)
            )
        # One norm for each tapped block (our choice); the deepest one's is the encoder's own.
        self.tap_norms = nn.ModuleList(
            nn.Identity() if i == encoder_depth - 1 else norm_layer(block, encoder_width) for i in self.taps
        )
        self.norm = norm_layer(block, width)
        self.head = nn.Linear(width, values)
        self.initialize_weights()

    def initialize_weights(self) -> None:
        self.apply(initialize_linear)

    def context(self, latents: Sequence[Tensor], mask: Mask) -> list[Tensor] | list[KeysValues]:
        """All that does not change with xt and t, computed once per clip.

        Args:
            latents: the tapped encoder blocks' outputs, each [B, (1 +) V, encoder_width], in the
                order of ``taps``.
            mask: says where the V visible patches are.

        Returns:
            For the cross kinds each block's keys and values of the visible latents; for ``joint``
            the embedded latents, without positions.
        """
        normed = [norm(x) for norm, x in zip(self.tap_norms, latents, strict=True)]
        if self.kind == "joint":
            return [self.latent_embed(normed[0])]
        extra = latents[0].shape[1] - mask.visible.shape[1]  # a class token has no position
        rotation = self.positions.rotation(mask.grid, mask.visible, mask.visible.device, extra, mask.times)
        return [self.blocks[j].cross.keys_values(normed[i], rotation) for j, i in enumerate(self.block_taps)]

    def repeat(self, context: list[Any], count: int) -> list[Any]:
        """The context of each clip ``count`` times, side by side."""
        return [
            tuple(x.repeat_interleave(count, 0) for x in entry)
            if isinstance(entry, tuple)
            else entry.repeat_interleave(count, 0)
            for entry in context
        ]

    def forward(self, xt: Tensor, t: Tensor, context: list[Tensor] | list[KeysValues], mask: Mask) -> Tensor:
        """Noised patches xt [B, M, P] at t int64 [B], or [B, M], -> predictions [B, M, P] in float32.

        ``mask.masked`` [B, M] says where the patches of xt are.
        """
        x = self.noised_embed(xt.to(self.head.weight.dtype))  # [B, M, W]
        timestep = self.timestep(t) if t.ndim == 2 else self.timestep(t)[:, None]  # [B, M or 1, W]
        x = x + self.positions(mask.grid, mask.masked, x.dtype) + timestep
        if self.kind == "joint":
            latents = context[0]
            assert isinstance(latents, Tensor)
            extra = latents.shape[1] - mask.visible.shape[1]  # a class token has no position
            visible = latents[:, extra:] + self.positions(mask.grid, mask.visible, x.dtype)
            x = torch.cat([latents[:, :extra], visible, x], dim=1)  # [B, V + M, W]
            rotation = self.positions.rotation(mask.grid, mask.tokens, x.device, extra, mask.times)
            for block in self.blocks:
                x = block(x, rotation)
            x = x[:, -mask.masked.shape[1] :]
        else:
            rotation = self.positions.rotation(mask.grid, mask.masked, x.device, times=mask.times)
            for block, keys_values in zip(self.blocks, context, strict=True):
                x = block(x, keys_values, rotation)
        return self.head(self.norm(x)).float()  # [B, M, P]

    def activations(self, seen: int, masked: int) -> Activations:
        """What decoding ``masked`` patches by ``seen`` latents keeps for backward, for one clip."""
        width, depth, patch = self.head.in_features, len(self.blocks), self.head.out_features
        if self.kind == "joint":
            stack = BlockStack(seen + masked, width, depth, ATTENTION + MLP)
            context = seen * self.encoder_width
        else:
            kept = CROSS_ATTENTION + (ATTENTION if self.kind == "cross_self" else 0) + MLP
            stack = BlockStack(masked, width, depth, kept)
            context = 2 * seen * width * depth + seen * self.encoder_width * len(self.taps)
        around = 2 * masked * width + masked * patch  # final norm and head; the noised patches
        return Activations([stack], context + around, 2 * masked * patch)
