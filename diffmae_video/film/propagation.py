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

NEAR = 40  # pixels around a hole in which only a flow that leads there and back is trusted
THERE_AND_BACK = 0.5, 0.02  # the squared error allowed: pixels, and a share of the squared flow
FITTED_POINTS = 4000  # of the flow, to which the camera's motion is fitted
BEYOND = 6  # pixels outside of a frame whose colours are those of its border
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


class Flows(NamedTuple):
    """The flow of each frame to its neighbours, float16 [n, H, W, 2] in pixels (x, y).

    Attributes:
        earlier: to the frame before; of the first frame, not used.
        later: to the frame after; of the last frame, not used.
    """

    earlier: np.ndarray
    later: np.ndarray


def find_flows(frames: np.ndarray, hidden: np.ndarray, unsure: int, deep: float) -> Flows:
    """The optical flow between neighbouring frames, continued into what is hidden.

    Args:
        frames: uint8 [n, H, W, 3], roughly filled where they are hidden.
        hidden: bool [n, H, W].
        unsure: pixels around a hole whose flow is not trusted, since the hole took part in it.
        deep: pixels from the edge of a hole at which the flow is halfway between what the edge suggests and
            the camera's motion.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    cv2 = require("cv2", "film")
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [_padded(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)) for frame in frames]
    n, height, width = hidden.shape
    flows = Flows(*np.zeros((2, n, height, width, 2), np.float16))
    for i in range(n - 1):
        later, earlier = (
            dis.calc(*pair, None)[:height, :width]
            for pair in ((grey[i], grey[i + 1]), (grey[i + 1], grey[i]))
        )
        flows.later[i] = _complete(later, earlier, hidden[i], unsure, deep)
        flows.earlier[i + 1] = _complete(earlier, later, hidden[i + 1], unsure, deep)
    return flows


def carry(
    frames: np.ndarray, hidden: np.ndarray, wanted: np.ndarray, flows: Flows, is_later: bool
) -> list[Carried]:
    """Brings colours from earlier or later frames to the wanted pixels of every frame.

    Args:
        frames: uint8 [n, H, W, 3], roughly filled where they are hidden.
        hidden: bool [n, H, W].
        wanted: bool [n, H, W]. A wanted pixel that is known is treated as hidden, except as a source.
        flows: see :func:`find_flows`.
        is_later: whether colours come from later frames.

    Returns:
        For each frame, what its wanted pixels get, in the order of ``np.nonzero``.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    n, height, width = hidden.shape
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    carried = [Carried(np.zeros((0, 3), np.float32), np.zeros(0, np.float32))] * n
    before: _Paths | None = None
    for i in range(n - 1, -1, -1) if is_later else range(n):
        if before is None:
            paths = _Paths(*(np.full((height, width), v, np.float32) for v in (0, 0, i, np.inf)))
        else:
            flow = (flows.later if is_later else flows.earlier)[i].astype(np.float32)
            paths = _lengthen(before, flow, rows, columns)
        carried[i] = _colours(frames, paths, wanted[i], rows, columns)
        is_known = ~hidden[i]
        for values, own in zip(paths, (0, 0, i, 0), strict=True):
            values[is_known] = own
        before = paths
    return carried


def _padded(picture: np.ndarray) -> np.ndarray:
    short = [(0, max(0, SMALLEST - side)) for side in picture.shape]
    return np.pad(picture, short, mode="edge") if any(after for _, after in short) else picture


def _complete(flow: np.ndarray, back: np.ndarray, hidden: np.ndarray, unsure: int, deep: float) -> np.ndarray:
    """A flow [H, W, 2], continued into what is hidden.

    Most of a scene moves with the camera: an affine motion is fitted to the flow of the known pixels. What
    differs from it at the edge of the hole is continued smoothly, and fades out deep inside of a wide
    hole, where the edge says little about the motion.
    """
    cv2 = require("cv2", "film")
    if not hidden.any():
        return flow
    is_sure = ~grow(hidden, unsure) & (_leads_back(flow, back) | ~grow(hidden, NEAR))
    camera = _affine_motion(flow, is_sure)
    known = torch.from_numpy(is_sure)[None, None].float()
    rest: Tensor = torch.from_numpy(flow - camera).permute(2, 0, 1)[None]
    rest = torch.cat([rest, rest[:, :1]], 1) * known  # push-pull wants three channels
    smooth = fill_from_around(rest, known)[0, :2].permute(1, 2, 0).contiguous().numpy()
    depth = cv2.distanceTransform(hidden.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    depth = np.minimum(depth / deep, 10.0)  # infinite if everything is hidden
    completed: np.ndarray = camera + smooth / (1 + depth[..., None] ** 4)
    return completed


def _leads_back(flow: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Where the flow to a frame and the one back from it lead to the same pixel, bool [H, W]."""
    cv2 = require("cv2", "film")
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    returned = cv2.remap(
        back, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    error, length = ((flow + returned) ** 2).sum(-1), (flow**2).sum(-1)
    agrees: np.ndarray = error < THERE_AND_BACK[0] + THERE_AND_BACK[1] * length
    return agrees


def _affine_motion(flow: np.ndarray, is_sure: np.ndarray) -> np.ndarray:
    """The affine motion that most of a flow follows, float32 [H, W, 2]; 0 if there is none."""
    cv2 = require("cv2", "film")
    rows, columns = np.nonzero(is_sure)
    if len(rows) > FITTED_POINTS:
        chosen = np.linspace(0, len(rows) - 1, FITTED_POINTS).astype(int)
        rows, columns = rows[chosen], columns[chosen]
    points = np.stack([columns, rows], 1).astype(np.float32)
    matrix = None
    if len(points) >= 3:
        cv2.setRNGSeed(0)
        moved = points + flow[rows, columns]
        matrix, _ = cv2.estimateAffine2D(points, moved, ransacReprojThreshold=1.0)
    if matrix is None or not np.isfinite(matrix).all():  # the points do not determine it
        return np.zeros_like(flow)
    height, width = is_sure.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    motion: np.ndarray = np.stack([x, y, np.ones_like(x)], -1) @ matrix.T.astype(np.float32)
    return motion - np.stack([x, y], -1)


def _lengthen(before: _Paths, flow: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> _Paths:
    """Paths that first take the flow to the neighbouring frame, and then go on as there."""
    cv2 = require("cv2", "film")
    height, width = rows.shape
    x, y = columns + flow[..., 0], rows + flow[..., 1]
    is_inside = (x >= -BEYOND) & (x < width + BEYOND) & (y >= -BEYOND) & (y < height + BEYOND)
    ends = np.stack(before, -1)
    nearest = cv2.remap(ends, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    between = cv2.remap(
        np.ascontiguousarray(ends[..., :3]), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
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
