"""Rotary positions in space and time (RoFormer, Su et al. 2021, arXiv 2104.09864).

The rotation is axial: some features turn with time, some with the row and some with the column.

Queries and keys are rotated by angles that grow with a token's place, so that attention depends on the
distance between tokens and on nothing else: there is no table, and any grid, length and frame spacing fits.

Our choice: a quarter of a head's features turns with time, the rest in equal parts with row and column.
Along each axis the frequencies fall geometrically from a quarter turn per token to a hundredth of that
(wavelengths of 4 to 400 tokens): neighbours differ clearly, and a clip of hundreds of tokens does not wrap.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffmae_video.errors import InputError
from diffmae_video.tokens import Triple

QUARTER_TURN = math.pi / 2  # radians per token, the highest frequency
SPAN = 100.0  # the highest frequency over the lowest

# Cosines and sines of tokens' angles, each [B or 1, 1, n, head width / 2]; the 1 is for the heads.
Rotation = tuple[Tensor, Tensor]


def token_places(grid: Triple, times: Tensor | None = None, device: torch.device | None = None) -> Tensor:
    """Places (time, row, column) of all tokens, float32 [1, N, 3], or [B, N, 3] with ``times``.

    Args:
        grid: time steps, rows and columns.
        times: float [B, t], the place in time of each time step, counted in time steps; by default
            0, 1, 2, ...

    Raises:
        InputError: ``times`` has another number of time steps than the grid.
    """
    t, h, w = grid
    if times is None:
        times = torch.arange(t, dtype=torch.float32, device=device)[None]
    if times.shape[1] != t:
        raise InputError(f"{times.shape[1]} times were given for a grid of {t} time steps")
    times = times.to(device, torch.float32)
    rows, columns = (torch.arange(n, dtype=torch.float32, device=times.device) for n in (h, w))
    batch = len(times)
    return torch.stack(
        [
            times[:, :, None, None].expand(batch, t, h, w),
            rows[:, None].expand(batch, t, h, w),
            columns.expand(batch, t, h, w),
        ],
        dim=-1,
    ).view(batch, t * h * w, 3)  # [B, N, 3]


def frequencies(head_width: int, device: torch.device | None = None) -> Tensor:
    """Radians per token of each pair of features along each axis: float32 [3, head_width / 2].

    A pair turns along one axis only; its other two frequencies are 0.

    Raises:
        InputError: the head is too narrow or odd.
    """
    if head_width % 2 or head_width < 8:
        raise InputError(f"rotary positions need heads of an even width of at least 8, got {head_width}")
    pairs = head_width // 2
    in_time = pairs // 4
    in_rows = (pairs - in_time) // 2
    table = torch.zeros(3, pairs, device=device)
    start = 0
    for axis, count in enumerate((in_time, in_rows, pairs - in_time - in_rows)):
        falling = QUARTER_TURN * SPAN ** (-torch.arange(count, dtype=torch.float64, device=device) / count)
        table[axis, start : start + count] = falling.float()
        start += count
    return table


def rotation_of(places: Tensor, head_width: int, unplaced: int = 0) -> Rotation:
    """The rotation of tokens at places [B or 1, n, 3].

    Args:
        unplaced: tokens in front of them that have no place, such as a class token; they are not turned.
    """
    # Not a matrix product: TF32 and autocast would round the angles of distant tokens.
    angles = (places[..., None] * frequencies(head_width, places.device)).sum(-2)  # [B, n, d / 2], float32
    if unplaced:
        still = angles.new_zeros(len(angles), unplaced, angles.shape[-1])
        angles = torch.cat([still, angles], dim=1)
    return angles.cos()[:, None], angles.sin()[:, None]


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turns queries or keys [B, heads, n, d]; feature i is paired with feature i + d / 2."""
    cos, sin = (values.to(x.dtype) for values in rotation)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
