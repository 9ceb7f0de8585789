"""Layers that timm does not have: positions that fit any grid, cross-attention, the timestep."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import Attention, Block
from torch import Tensor, nn

from diffmae_video.errors import InputError
from diffmae_video.models.block_kinds import mlp, norm_class, norm_layer
from diffmae_video.models.rotary import Rotation, frequencies, rotate, rotation_of, token_places
from diffmae_video.tokens import Triple, gather_tokens, interleaved_sinusoid, sincos_positions

POSITIONS = ("sincos", "sharp", "learned", "joint", "sinusoid", "rope")


# With freed memory kept (runtime/malloc.py), torch's fused attention on a CPU takes 1.6 to 3 times as long in
# bf16 as plain matrix products, forward and backward; in float32 it is faster. The bound limits memory.
EXPLICIT_KEYS = 1536


def is_explicit_faster(queries: Tensor, keys: int) -> bool:
    """Whether attention to ``keys`` keys is better written out than fused."""
    return queries.device.type == "cpu" and queries.dtype == torch.bfloat16 and keys <= EXPLICIT_KEYS


def attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Softmax attention of heads [B, heads, n, d], fused or written out by which is faster."""
    if is_explicit_faster(queries, keys.shape[2]):
        scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-2, -1)  # [B, heads, n, k]
        return scores.softmax(dim=-1) @ values
    return F.scaled_dot_product_attention(queries, keys, values)


class SelfAttention(Attention):
    """timm's attention with rotary positions; its weights have timm's names."""

    def forward(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:  # type: ignore[override]
        b, n, width = x.shape
        queries, keys, values = (
            self.qkv(x)
            .view(b, n, 3, self.num_heads, width // self.num_heads)
            .permute(2, 0, 3, 1, 4)
            .unbind(0)
        )
        queries, keys = self.q_norm(queries), self.k_norm(keys)
        if rotation is not None:
            queries, keys = rotate(queries, rotation), rotate(keys, rotation)
        x = attention(queries, keys, values)  # [B, heads, N, d]
        return self.proj(x.transpose(1, 2).reshape(b, n, width))  # [B, N, D]


class ViTBlock(Block):
    """timm's pre-norm ViT block with rotary positions; its weights have timm's names.

    Args:
        block: the kind of norm and MLP, see :mod:`diffmae_video.models.block_kinds`.
        qk_norm: normalise the queries and keys of each head (Dehghani et al. 2023).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_ratio: float,
        eps: float = 1e-6,
        drop_path: float = 0.0,
        block: str = "vit",
        qk_norm: bool = False,
    ) -> None:
        norm = norm_class(block, eps)
        super().__init__(width, heads, mlp_ratio, qkv_bias=True, norm_layer=norm, drop_path=drop_path)
        self.attn = SelfAttention(width, heads, qkv_bias=True, qk_norm=qk_norm, norm_layer=norm)
        if block != "vit":
            self.mlp = mlp(block, width, mlp_ratio)

    def forward(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:  # type: ignore[override]
        x = x + self.drop_path1(self.attn(self.norm1(x), rotation))
        return x + self.drop_path2(self.mlp(self.norm2(x)))


def resample_positions(table: Tensor, old: Triple, new: Triple) -> Tensor:
    """Resamples positions [old t*h*w, D] to [new t*h*w, D]: bicubic in space (timm), linear in time."""
    if old == new:
        return table
    width = table.shape[-1]
    dtype, table = table.dtype, table.float().view(old[0], old[1] * old[2], width)
    if old[1:] != new[1:]:
        # timm takes one table, and would take a batch's tokens apart: time goes beside the features
        beside = table.transpose(0, 1).reshape(1, -1, old[0] * width)  # [1, h*w, t*D]
        beside = resample_abs_pos_embed(beside, list(new[1:]), list(old[1:]), num_prefix_tokens=0)
        table = beside.view(-1, old[0], width).transpose(0, 1)
    if old[0] != new[0]:
        over_time = table.permute(1, 2, 0)  # [h*w, D, t]
        table = F.interpolate(over_time, size=new[0], mode="linear").permute(2, 0, 1)
    return table.reshape(-1, width).to(dtype)


class Positions(nn.Module):
    """Position embeddings of a grid (t, h, w), resampled for a call on another grid.

    Args:
        kind: ``sincos`` and ``sharp``, fixed, see
            :func:`diffmae_video.tokens.sincos_positions`; ``learned``, one
            table in space plus one in time (none for an image), as MAE-ST; ``joint``, one learned
            table over all tokens; ``sinusoid``, VideoMAE's fixed 1-D one over the flattened tokens;
            ``rope``, no table: attention turns queries and keys by their places, see
            :mod:`diffmae_video.models.rotary`.
        head_width: of the attention that ``rope`` turns.

    Raises:
        InputError: an unknown kind, or heads that ``rope`` cannot turn.
    """

    def __init__(self, kind: str, grid: Triple, width: int, head_width: int = 64) -> None:
        super().__init__()
        self.table: Tensor
        if kind not in POSITIONS:
            raise InputError(f"unknown positions {kind!r}; choose from {', '.join(POSITIONS)}")
        self.kind, self.grid, self.width = kind, grid, width
        self.head_width = head_width
        t, h, w = grid
        if kind == "rope":
            frequencies(head_width)
        elif kind in ("sincos", "sharp"):
            table = sincos_positions(grid, width, sharp=kind == "sharp")
            self.register_buffer("table", table, persistent=False)
        elif kind == "sinusoid":
            self.register_buffer("table", interleaved_sinusoid(t * h * w, width), persistent=False)
        elif kind == "joint":
            self.joint = nn.Parameter(torch.empty(t * h * w, width).normal_(std=0.02))
        else:
            self.spatial = nn.Parameter(torch.empty(h * w, width).normal_(std=0.02))
            self.temporal = nn.Parameter(torch.empty(t, width).normal_(std=0.02)) if t > 1 else None

    def no_weight_decay(self) -> set[str]:
        return {name for name, _ in self.named_parameters()}

    def forward(
        self, grid: Triple, index: Tensor | None = None, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Positions [1, N, D] of a grid, or [B, K, D] of its tokens index [B, K]; a scalar 0 for ``rope``."""
        if self.kind == "rope":
            return torch.zeros((), dtype=dtype)  # broadcasts to any shape and device
        if self.kind == "learned":
            space = resample_positions(self.spatial, (1, *self.grid[1:]), (1, *grid[1:]))
            table = space.repeat(grid[0], 1)
            if self.temporal is not None:
                time = resample_positions(self.temporal, (self.grid[0], 1, 1), (grid[0], 1, 1))
                table = table + time.repeat_interleave(grid[1] * grid[2], dim=0)
        elif self.kind == "joint":
            table = resample_positions(self.joint, self.grid, grid)
        elif grid == self.grid:
            table = self.table
        elif self.kind in ("sincos", "sharp"):
            table = sincos_positions(grid, self.width, self.grid, self.kind == "sharp").to(self.table)
        else:
            table = resample_positions(self.table, self.grid, grid)
        table = table.to(dtype)  # before it is read for each clip
        if index is None:
            return table[None]
        return table.index_select(0, index.flatten()).view(*index.shape, -1)

    def rotation(
        self,
        grid: Triple,
        index: Tensor | None,
        device: torch.device,
        unplaced: int = 0,
        times: Tensor | None = None,
    ) -> Rotation | None:
        """How attention turns the tokens [B, K] of a grid, or all of them; None for positions that are added.

        Args:
            unplaced: tokens in front of them without a place, such as a class token.
            times: of the time steps, see :class:`~diffmae_video.masks.Mask`.

        Raises:
            InputError: there are times, and the positions are not rotary.
        """
        if self.kind != "rope":
            if times is not None:
                raise InputError(
                    f"unevenly spaced frames need a model with POSITIONS rope in encoder and decoder; these "
                    f"are {self.kind}"
                )
            return None
        places = token_places(grid, times, device)  # [B or 1, N, 3]
        if index is not None:
            places = (
                places[0].index_select(0, index.flatten()).view(*index.shape, 3)
                if times is None
                else gather_tokens(places, index)
            )  # [B, K, 3]
        return rotation_of(places, self.head_width, unplaced)


class TimestepEmbedding(nn.Module):
    """Timesteps to features: a sinusoid in float32, then an MLP (our choice, after DDPM).

    Args:
        width: of the features.
        timesteps: T. A timestep per token is looked up in a table of all T + 1 features, which is computed
            once for a batch; a batch usually has more tokens than there are timesteps.
    """

    def __init__(self, width: int, timesteps: int = 1000) -> None:
        super().__init__()
        self.width, self.timesteps = width, timesteps
        self.fc1 = nn.Linear(width, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, t: Tensor) -> Tensor:
        """t, int64 [B] or [B, M] in 0..T -> [B, width] or [B, M, width]."""
        if t.ndim == 2:
            table = self(torch.arange(self.timesteps + 1, device=t.device))  # [T + 1, width]
            return table.index_select(0, t.flatten()).view(*t.shape, -1)
        half = self.width // 2
        omega = torch.exp(torch.arange(half, device=t.device) * (-math.log(10000.0) / half))
        angle = t.float()[:, None] * omega  # float32: in bf16, t = 998, 999 and 1000 are one number
        features = torch.cat([angle.sin(), angle.cos()], dim=1).to(self.fc1.weight.dtype)
        return self.fc2(F.silu(self.fc1(features)))


class CrossAttention(nn.Module):
    """Attention of tokens [B, M, width] to a context whose keys and values are computed apart.

    Args:
        block, qk_norm: see :class:`ViTBlock`.
    """

    def __init__(
        self, width: int, context_width: int, heads: int, block: str = "vit", qk_norm: bool = False
    ) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"width {width} does not divide by {heads} heads")
        self.heads, self.head_width = heads, width // heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(context_width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.q_norm, self.k_norm = (
            norm_layer(block, self.head_width) if qk_norm else nn.Identity() for _ in range(2)
        )

    def keys_values(self, context: Tensor, rotation: Rotation | None = None) -> tuple[Tensor, Tensor]:
        """Context [B, V, context_width] -> keys (turned) and values, each [B, heads, V, width / heads]."""
        b, v, _ = context.shape
        keys, values = (
            self.kv(context).view(b, v, 2, self.heads, self.head_width).permute(2, 0, 3, 1, 4).unbind(0)
        )
        keys = self.k_norm(keys)
        return keys if rotation is None else rotate(keys, rotation), values

    def forward(
        self, x: Tensor, keys_values: tuple[Tensor, Tensor], rotation: Rotation | None = None
    ) -> Tensor:
        b, m, width = x.shape
        queries = self.q(x).view(b, m, self.heads, self.head_width).transpose(1, 2)  # [B, heads, M, d]
        queries = self.q_norm(queries)
        if rotation is not None:
            queries = rotate(queries, rotation)
        x = attention(queries, *keys_values)  # [B, heads, M, d]
        return self.proj(x.transpose(1, 2).reshape(b, m, width))


def initialize_linear(module: nn.Module) -> None:
    """MAE's initialisation of linear and norm layers: Xavier uniform, zero bias."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
