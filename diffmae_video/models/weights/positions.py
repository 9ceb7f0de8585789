"""The positions in a file of weights, and the grid of patches that they stand for.

A table says how many tokens there were, and not in what grid. Sizes that the caller asks for settle
what the count leaves open.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffmae_video.errors import InputError
from diffmae_video.models.layers import Positions
from diffmae_video.models.pretrained import CONFIG
from diffmae_video.models.weights.layouts import Weights
from diffmae_video.tokens import Triple

logger = logging.getLogger(__name__)

IMAGE_SIZE, NUM_FRAMES = (224, 224), 16  # what models are trained on, where a file does not say


def read_positions(
    path: Path,
    config: dict[str, Any],
    weights: Weights,
    patch: Triple,
    size: tuple[int, int] | None,
    num_frames: int | None,
) -> tuple[Positions, Tensor | float]:
    """The positions of the trained grid, and that of the class token (0 where it has none)."""
    tables = {
        kind: weights.tensors[f"positions.{kind}"].flatten(0, -2)  # [n, D]
        for kind in ("joint", "spatial", "temporal", "class")
        if f"positions.{kind}" in weights.tensors
    }
    class_position: Tensor | float = tables.get("class", 0.0)
    if "spatial" in tables:
        h, w = _space(path, len(tables["spatial"]), patch, size)
        kind, grid = "learned", (len(tables["temporal"]) if "temporal" in tables else 1, h, w)
    elif "joint" in tables:
        kind, table = "joint", tables["joint"]
        grid, first_is_class = _grid_of_one_table(path, weights, len(table), patch, size, num_frames)
        if first_is_class:
            class_position, table = table[:1], table[1:]
        tables["joint"] = tables["spatial"] = table
        if grid[0] == 1:
            kind = "learned"  # of one time step: the same, in the form that images have here
    else:
        kind, grid = "sinusoid", _untold_grid(config, patch, size, num_frames)
        if weights.source == "diffmae":
            kind = "sincos"
            logger.warning("%s: no %s beside it; its positions are taken to be sincos", path, CONFIG)
    positions = Positions(kind, grid, weights.width)
    with torch.no_grad():
        for name, parameter in positions.named_parameters():
            parameter.copy_(tables[name])
    return positions, class_position


def _grid_of_one_table(
    path: Path,
    weights: Weights,
    count: int,
    patch: Triple,
    size: tuple[int, int] | None,
    num_frames: int | None,
) -> tuple[Triple, bool]:
    """The grid of a table of all tokens, and whether its first row is the class token's."""
    image = weights.tensors["patch.weight"].ndim == 4
    token = "cls_token" in weights.tensors

    def grid(tokens: int) -> Triple:
        if image:
            return (1, *_space(path, tokens, patch, size))
        return _space_and_time(path, tokens, patch, size, num_frames)

    def fits(tokens: int) -> bool:
        try:
            return bool(grid(tokens))
        except InputError:
            return False

    if weights.source == "diffmae":
        return grid(count), False
    if token and image and fits(count) and not fits(count - 1):  # timm's no_embed_class
        return grid(count), False
    if not token and fits(count - 1) and not fits(count):
        raise InputError(f"{path}: missing cls_token, to which the first of {count} positions belongs")
    return grid(count - token), token


def _plane(count: int, patch: Triple, size: tuple[int, int] | None) -> tuple[int, int] | None:
    """The grid (h, w) of a number of patches: a square, or else that of the size asked for."""
    side = math.isqrt(count)
    if side * side == count:
        return side, side
    if size is not None and (size[0] // patch[1]) * (size[1] // patch[2]) == count:
        return size[0] // patch[1], size[1] // patch[2]
    return None


def _space(path: Path, count: int, patch: Triple, size: tuple[int, int] | None) -> tuple[int, int]:
    grid = _plane(count, patch, size)
    if grid is None:
        raise InputError(
            f"{path}: {count} positions are no square; give the image_size that it was trained on"
        )
    return grid


def _space_and_time(
    path: Path, count: int, patch: Triple, size: tuple[int, int] | None, num_frames: int | None
) -> Triple:
    """The grid behind one table over time and space.

    What is asked for, if the count is that; or else 16 frames of 224 pixels, if it is that; or else
    the frames or the size that is asked for, whichever the count allows. One grid must come out.
    """
    steps = num_frames // patch[0] if num_frames else 0
    h, w = (size[0] // patch[1], size[1] // patch[2]) if size else (0, 0)
    usual = (NUM_FRAMES // patch[0], IMAGE_SIZE[0] // patch[1], IMAGE_SIZE[1] // patch[2])
    for grid in ((steps, h, w), usual):
        if math.prod(grid) == count:
            return grid
    grids: set[Triple] = set()
    if h * w and count % (h * w) == 0:
        grids.add((count // (h * w), h, w))
    # Without either, one frame if patches are of one, else 16.
    t = steps or (0 if h else usual[0] if patch[0] > 1 else 1)
    if t and count % t == 0 and (square := _plane(count // t, patch, None)):
        grids.add((t, *square))
    if len(grids) != 1:
        found = " or ".join(map(str, sorted(grids))) or "no grid of these sizes"
        raise InputError(
            f"{path}: {count} positions over time and space can be of {found}; give the image_size and "
            "num_frames that it was trained on: the encoder takes clips of other sizes all the same"
        )
    return grids.pop()


def _untold_grid(
    config: dict[str, Any], patch: Triple, size: tuple[int, int] | None, num_frames: int | None
) -> Triple:
    """The trained grid where no positions are stored: config.json's, or what is asked for, or 224 and 16."""
    told = config.get("image_size") or size or IMAGE_SIZE
    height, width = (told, told) if isinstance(told, int) else told
    frames = config.get("num_frames") or num_frames or (1 if patch[0] == 1 else NUM_FRAMES)
    if frames < patch[0]:  # an image is asked for of a video's model
        frames = NUM_FRAMES
    return frames // patch[0], height // patch[1], width // patch[2]
