"""Carries known pixels into a hole along the optical flow, from earlier and from later frames.

Every hidden pixel follows the flow from frame to frame until it reaches a pixel that is known, and takes that
pixel's colour. The path's end is kept, not the colour, so that a colour is interpolated only once (as in
flow-guided video completion, Gao et al. 2020). The flow is OpenCV's DIS (Kroeger et al. 2016).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffmae_video.errors import require
from diffmae_video.film.camera import fill_from_around
from diffmae_video.film.hole_edges import grow

UNSURE = 5  # pixels around a hole whose flow is not trusted: it was computed with a part of the hole
SMALLEST = 24  # pixels; DIS needs pictures of this size


class Carried(NamedTuple):
    """What one direction of time brings to some pixels of a frame.

    Attributes:
        colours: float32 [k, 3] in levels of 255.
        hops: float32 [k], how many frames away the colour was found; infinite where none was.
    """

    colours: np.ndarray
    hops: np.ndarray


class _Paths(NamedTuple):
    """Where each pixel's path ends: how far to the right and below, in which frame, after how many hops."""

    right: np.ndarray
    down: np.ndarray
    frame: np.ndarray
    hops: np.ndarray


def carry(frames: np.ndarray, hidden: np.ndarray, wanted: np.ndarray, is_later: bool) -> list[Carried]:
    """Brings colours from earlier or later frames to the wanted pixels of every frame.

    Args:
        frames: uint8 [n, H, W, 3], roughly filled where they are hidden.
        hidden: bool [n, H, W].
        wanted: bool [n, H, W]. A wanted pixel that is known is treated as hidden, except as a source.
        is_later: whether colours come from later frames.

    Returns:
        For each frame, what its wanted pixels get, in the order of ``np.nonzero``.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    cv2 = require("cv2", "film")
    flow_between = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    n, height, width = hidden.shape
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    carried = [Carried(np.zeros((0, 3), np.float32), np.zeros(0, np.float32))] * n
    before: _Paths | None = None
    grey_before = np.zeros((0, 0), np.uint8)
    for i in range(n - 1, -1, -1) if is_later else range(n):
        grey = cv2.cvtColor(frames[i], cv2.COLOR_RGB2GRAY)
        if before is None:
            paths = _Paths(*(np.full((height, width), v, np.float32) for v in (0, 0, i, np.inf)))
        else:
            flow = _complete(flow_between.calc(*map(_padded, (grey, grey_before)), None), hidden[i])
            paths = _lengthen(before, flow, rows, columns)
        carried[i] = _colours(frames, paths, wanted[i], rows, columns)
        is_known = ~hidden[i]
        for values, own in zip(paths, (0, 0, i, 0), strict=True):
            values[is_known] = own
        before, grey_before = paths, grey
    return carried


def _padded(picture: np.ndarray) -> np.ndarray:
    short = [(0, max(0, SMALLEST - side)) for side in picture.shape]
    return np.pad(picture, short, mode="edge") if any(after for _, after in short) else picture


def _complete(flow: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """A flow [H, W, 2], continued smoothly from around into what is hidden."""
    height, width = hidden.shape
    flow = flow[:height, :width]
    if not hidden.any():
        return flow
    known = torch.from_numpy(~grow(hidden, UNSURE))[None, None].float()
    values: Tensor = torch.from_numpy(flow).permute(2, 0, 1)[None]
    values = torch.cat([values, values[:, :1]], 1) * known  # push-pull wants three channels
    completed: np.ndarray = fill_from_around(values, known)[0, :2].permute(1, 2, 0).contiguous().numpy()
    return completed


def _lengthen(before: _Paths, flow: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> _Paths:
    """Paths that first take the flow to the neighbouring frame, and then go on as there."""
    cv2 = require("cv2", "film")
    height, width = rows.shape
    x, y = columns + flow[..., 0], rows + flow[..., 1]
    is_inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    ends = np.stack(before, -1)
    nearest = cv2.remap(ends, x, y, cv2.INTER_NEAREST)
    between = cv2.remap(np.ascontiguousarray(ends[..., :3]), x, y, cv2.INTER_LINEAR)
    # Paths to different frames have nothing in common, so they are not averaged.
    is_mixed = np.abs(between[..., 2] - nearest[..., 2]) > 1e-3
    right, down = (np.where(is_mixed, nearest[..., k], between[..., k]) + flow[..., k] for k in range(2))
    return _Paths(right, down, nearest[..., 2].copy(), np.where(is_inside, nearest[..., 3] + 1, np.inf))


def _colours(
    frames: np.ndarray, paths: _Paths, wanted: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> Carried:
    cv2 = require("cv2", "film")
    right, down, frame, hops = (values[wanted] for values in paths)
    x, y = columns[wanted] + right, rows[wanted] + down
    colours = np.zeros((len(x), 3), np.float32)
    is_reached = np.isfinite(hops)
    for source in np.unique(frame[is_reached]).astype(int):
        (chosen,) = np.nonzero(is_reached & (frame == source))
        for part in np.array_split(chosen, len(chosen) // 32000 + 1):  # OpenCV's longest side is 32767
            found = cv2.remap(
                frames[source], x[part][None], y[part][None], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
            )
            colours[part] = found[0]
    return Carried(colours, hops)
