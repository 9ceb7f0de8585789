"""Cuts clips into sequences of patches, and makes the fixed position tables of their grid.

A token's index in the sequence is ``(t * h + row) * w + column`` for a grid ``(t, h, w)``.
"""

import torch
from einops import rearrange
from torch import Tensor

from diffmae_video.errors import InputError

Triple = tuple[int, int, int]


def grid_of(clip_size: Triple, patch: Triple) -> Triple:
    """The grid (t, h, w) of patches of a clip of ``clip_size`` (T, H, W).

    Raises:
        InputError: a side of the clip is not a multiple of the patch's.
    """
    for name, size, side in zip(("frames", "height", "width"), clip_size, patch, strict=True):
        if size < side or size % side:
            raise InputError(
                f"{name}: {size} is not a multiple of the patch's {side}; resize or crop the clip"
            )
    t, h, w = (size // side for size, side in zip(clip_size, patch, strict=True))
    return t, h, w


def patchify(clip: Tensor, patch: Triple) -> Tensor:
    """Cuts a clip [B, C, T, H, W] into patches [B, N, P], each flattened as (t, p, q, c).

    This is a reshape, not a convolution, so it has an exact inverse.

    Raises:
        InputError: the clip is not 5-D, or its sides are not multiples of the patch's.
    """
    if clip.ndim != 5:
        raise InputError(f"expected a clip [B, C, T, H, W], got {list(clip.shape)}")
    grid_of((clip.shape[2], clip.shape[3], clip.shape[4]), patch)
    a, p, q = patch
    return rearrange(clip, "b c (t a) (h p) (w q) -> b (t h w) (a p q c)", a=a, p=p, q=q)


def unpatchify(patches: Tensor, grid: Triple, patch: Triple) -> Tensor:
    """The inverse of :func:`patchify`: patches [B, N, P] -> clip [B, C, T, H, W]."""
    (t, h, w), (a, p, q) = grid, patch
    return rearrange(patches, "b (t h w) (a p q c) -> b c (t a) (h p) (w q)", t=t, h=h, w=w, a=a, p=p, q=q)


def gather_tokens(tokens: Tensor, index: Tensor) -> Tensor:
    """Picks tokens [B, N, D] at index [B, K] -> [B, K, D]."""
    # With one flat index, index_select copies whole rows and its backward pass is one index_add.
    b, n, d = tokens.shape
    rows = (index + n * torch.arange(b, device=index.device)[:, None]).flatten()
    return tokens.reshape(b * n, d).index_select(0, rows).view(b, -1, d)


def sincos(positions: Tensor, width: int, longest: float = 10000.0) -> Tensor:
    """Sine-cosine features [n, width] of positions [n], with wavelengths from 2π to ``longest`` · 2π.

    Sines come first, then cosines (source: Attention Is All You Need, in the order of MAE's repository).

    Raises:
        InputError: the width is odd.
    """
    if width % 2:
        raise InputError(f"a sine-cosine table needs an even width, got {width}")
    omega = longest ** (-torch.arange(width // 2, dtype=torch.float64) / (width // 2))
    angle = positions.to(torch.float64)[:, None] * omega
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def sincos_positions(
    grid: Triple, width: int, trained_grid: Triple | None = None, sharp: bool = False
) -> Tensor:
    """Fixed positions [N, width] (float32) of a grid, separable in time and space.

    The spatial part is MAE's 2-D table: the first half of the width encodes the column, the second half
    the row. The temporal part is added to it and is zero at time step 0 (our choice), so an image has
    the positions of a video's first time step, and those of MAE.

    Args:
        grid: (t, h, w) in patches.
        width: of a token.
        trained_grid: the grid that the model was made for, by default ``grid``. Coordinates of ``grid``
            are stretched over it with pixel centres aligned, as an interpolation of the table would do;
            since the functions are known, they are evaluated, not interpolated (our choice).
        sharp: fit the wavelengths to the grid, double the table, and weaken its temporal part to 0.3 of
            the spatial one (our choice). MAE's wavelengths reach 10000 · 2π patches, so on a small grid
            most features are nearly constant and attention is slow to learn to tell neighbours apart.
            With sharp positions a token starts out close to the same place at other times and far from
            other places.

    Raises:
        InputError: the width is not a multiple of 4.
    """
    if width % 4:
        raise InputError(f"sine-cosine positions need a width divisible by 4, got {width}")
    trained_grid = trained_grid or grid
    longest = max(3.0, 0.375 * max(trained_grid)) if sharp else 10000.0
    t, row, column = (
        (torch.arange(n, dtype=torch.float64) + 0.5) * (n0 / n) - 0.5
        for n, n0 in zip(grid, trained_grid, strict=True)
    )
    time = sincos(t, width, longest) - sincos(torch.zeros(1), width, longest)  # [t, D]
    space = torch.cat(
        [
            sincos(column, width // 2, longest).expand(len(row), -1, -1),
            sincos(row, width // 2, longest)[:, None].expand(-1, len(column), -1),
        ],
        dim=-1,
    )  # [h, w, D]
    if sharp:
        time, space = 0.6 * time, 2.0 * space
    return (time[:, None, None] + space).reshape(-1, width).float()


def interleaved_sinusoid(count: int, width: int) -> Tensor:
    """VideoMAE's fixed 1-D positions [count, width] over all flattened tokens (float32).

    Even features are sines and odd ones cosines; each pair shares a wavelength (source: Attention Is All
    You Need; VideoMAE's repository applies it to the sequence over t, h, w).
    """
    feature = torch.arange(width, dtype=torch.float64)
    angle = torch.arange(count, dtype=torch.float64)[:, None] * 10000.0 ** (-2 * (feature // 2) / width)
    return torch.where(feature % 2 == 0, angle.sin(), angle.cos()).float()
