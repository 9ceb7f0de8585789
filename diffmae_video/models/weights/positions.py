"""The positions in a file of weights, and the grid of patches that they belong to.

A table tells the number of tokens but not their grid. The sizes that the caller requests settle what the
number leaves open.
"""

import logging
import math
from pathlib import Path

import torch
from torch import Tensor

from diffmae_video.errors import InputError
from diffmae_video.models.layers import Positions
from diffmae_video.models.pretrained import CONFIG
from diffmae_video.models.weights.architecture import Architecture
from diffmae_video.models.weights.encoder_weights import EncoderWeights
from diffmae_video.tokens import Triple

logger = logging.getLogger(__name__)

IMAGE_SIZE, NUM_FRAMES = (224, 224), 16  # the usual trained sizes, where a file does not tell them


def read_positions(
    path: Path,
    architecture: Architecture,
    weights: EncoderWeights,
    patch: Triple,
    size: tuple[int, int] | None,
    num_frames: int | None,
) -> tuple[Positions, Tensor | float]:
    """The positions of the trained grid, and that of the class token (0 if it has none).

    Args:
        patch: (frames, height, width) of a patch.
        size, num_frames: the sizes that the caller requests, in pixels and frames.

    Raises:
        InputError: the number of positions fits no grid, or several.
    """
    tables = {
        kind: weights.tensors[f"positions.{kind}"].flatten(0, -2)  # [n, D]
        for kind in ("joint", "spatial", "temporal", "class")
        if f"positions.{kind}" in weights.tensors
    }
    class_position: Tensor | float = tables.get("class", 0.0)
    if "spatial" in tables:
        h, w = _grid_in_space(path, len(tables["spatial"]), patch, size)
        kind, grid = "learned", (len(tables["temporal"]) if "temporal" in tables else 1, h, w)
    elif "joint" in tables:
        kind, table = "joint", tables["joint"]
        grid, first_is_class = _grid_of_one_table(path, weights, len(table), patch, size, num_frames)
        if first_is_class:
            class_position, table = table[:1], table[1:]
        tables["joint"] = tables["spatial"] = table
        if grid[0] == 1:
            kind = "learned"  # the same for one time step, in the form that images have here
    else:
        kind, grid = "sinusoid", _default_grid(architecture, patch, size, num_frames)
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
    weights: EncoderWeights,
    count: int,
    patch: Triple,
    size: tuple[int, int] | None,
    num_frames: int | None,
) -> tuple[Triple, bool]:
    """The grid of one table over all tokens, and whether its first row is the class token's."""
    image = weights.tensors["patch.weight"].ndim == 4
    token = "cls_token" in weights.tensors

    def grid(tokens: int) -> Triple:
        if image:
            return (1, *_grid_in_space(path, tokens, patch, size))
        return _grid_in_time_and_space(path, tokens, patch, size, num_frames)

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
    """The grid (h, w) of a number of patches: a square, or else that of the requested size."""
    side = math.isqrt(count)
    if side * side == count:
        return side, side
    if size is not None and (size[0] // patch[1]) * (size[1] // patch[2]) == count:
        return size[0] // patch[1], size[1] // patch[2]
    return None


def _grid_in_space(path: Path, count: int, patch: Triple, size: tuple[int, int] | None) -> tuple[int, int]:
    grid = _plane(count, patch, size)
    if grid is None:
        raise InputError(
            f"{path}: {count} positions are not a square; give the image_size that it was trained on"
        )
    return grid


def _grid_in_time_and_space(
    path: Path, count: int, patch: Triple, size: tuple[int, int] | None, num_frames: int | None
) -> Triple:
    """The grid of one table over time and space.

    It is the requested grid if that has ``count`` tokens, or else that of 16 frames of 224 pixels, or else
    one with the requested frames or the requested size.

    Raises:
        InputError: no grid fits, or two do.
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
    # Without a request: one frame if patches have one, else 16.
    t = steps or (0 if h else usual[0] if patch[0] > 1 else 1)
    if t and count % t == 0 and (square := _plane(count // t, patch, None)):
        grids.add((t, *square))
    if len(grids) != 1:
        candidates = " or ".join(map(str, sorted(grids))) or "no grid of these sizes"
        raise InputError(
            f"{path}: {count} positions over time and space fit {candidates}; give the image_size and "
            "num_frames that it was trained on; the encoder takes clips of other sizes too"
        )
    return grids.pop()


def _default_grid(
    architecture: Architecture, patch: Triple, size: tuple[int, int] | None, num_frames: int | None
) -> Triple:
    """The trained grid if no positions are stored: by config.json, or else as requested, or 224 and 16."""
    trained = architecture.image_size or size or IMAGE_SIZE
    height, width = (trained, trained) if isinstance(trained, int) else trained
    frames = architecture.num_frames or num_frames or (1 if patch[0] == 1 else NUM_FRAMES)
    if frames < patch[0]:  # an image is requested from a video model
        frames = NUM_FRAMES
    return frames // patch[0], height // patch[1], width // patch[2]
