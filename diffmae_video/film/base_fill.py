"""A first fill of hidden pixels from the known ones, which the fitted model corrects.

Colours are carried into the hole along the optical flow, and fitted to its edge; OpenCV's inpainting fills
what no frame shows. Near the edge of a hole, or when the flow is followed over many frames, the inpainting
may be closer to the truth, so the two are averaged. How much either counts is measured on known parts of the
same film (our choice).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from diffmae_video.errors import require
from diffmae_video.film.camera import fill_from_around
from diffmae_video.film.hole_edges import grow
from diffmae_video.film.propagation import Carried, carry, find_flows

RADIUS = 3  # of OpenCV's inpainting, in pixels
RIM = 6  # pixels around the hole, by which carried colours are fitted to its surroundings
LARGEST_STEP = 40.0  # levels by which a carried colour may be shifted
BLUR, FADE = 7, 6  # pixels over which shares change between classes, and to places that nothing is carried to
DEEP = 0.25  # share of a frame's shorter side: how deep inside of a hole the camera's motion counts as half
MARGIN = 128  # pixels around the hole that the optical flow is computed on
# Pixels are divided into classes by how many frames away their colour was found, and by how many pixels lie
# between them and the edge of the hole. These are the bounds.
HOPS = np.array([1.5, 2.5, 4.5, 8.5, 16.5, 32.5])
DISTANCES = np.array([2.0, 4, 8, 16, 32])
CLASSES = range((len(HOPS) + 1) * (len(DISTANCES) + 1))
UNSURE = (5, 24, 128)  # pixels; the margins around holes that are tried
CHOOSING, CHOOSING_FRAMES = 2, 32  # examples that the margin is chosen on, and frames of each
THREADS = 2
UNCERTAINTY = 4e4  # squared levels; classes with few pixels take the share of all


class _Fills(NamedTuple):
    """The two fills of a frame's hidden pixels, [k, 3], and the class of each pixel, [k]; -1: not reached."""

    carried: np.ndarray
    around: np.ndarray
    group: np.ndarray


Example = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class BaseFill:
    """Fills holes.

    Attributes:
        shares: how much carried colours count in each class of pixels, 0 to 1,
            float [(hops + 1) (distances + 1)].
        unsure: pixels around a hole whose optical flow is not trusted. In rigid scenes a wide margin gives a
            steadier flow, where things move by themselves a narrow one follows them better.
    """

    shares: np.ndarray
    unsure: int

    @classmethod
    def measured(cls, examples: Sequence[Example]) -> BaseFill:
        """The base fill with the smallest squared error on known parts of a film.

        Args:
            examples: pixels uint8 [n, H, W, 3], and bool [n, H, W] what is hidden in them and what is
                hidden for this measurement although it is known.
        """
        short = [(p[:CHOOSING_FRAMES], h[:CHOOSING_FRAMES], q[:CHOOSING_FRAMES]) for p, h, q in examples]
        with ThreadPoolExecutor(THREADS) as pool:
            tried = pool.map(lambda unsure: cls._fitted(short[:CHOOSING], unsure), UNSURE)
            unsure = min(tried, key=lambda result: result[0])[1].unsure
        return cls._fitted(examples, unsure)[1]

    @classmethod
    def _fitted(cls, examples: Iterable[Example], unsure: int) -> tuple[float, BaseFill]:
        """The squared error and the base fill whose shares are best by least squares."""
        count = len(CLASSES)
        products, squares, errors = np.zeros((3, count))
        for pixels, hidden, pretended in examples:
            pretended = pretended & ~hidden
            missing = hidden | pretended
            for i, fills in enumerate(_fills(pixels, missing, unsure)):
                chosen = pretended[i][missing[i]] & (fills.group >= 0)
                truth = pixels[i][missing[i]][chosen]
                carried, around, group = (values[chosen] for values in fills)
                products += np.bincount(group, ((carried - around) * (truth - around)).sum(1), count)
                squares += np.bincount(group, ((carried - around) ** 2).sum(1), count)
                errors += np.bincount(group, ((truth - around) ** 2).sum(1), count)
        overall = products.sum() / squares.sum() if squares.sum() else 1.0
        shares = np.clip((products + UNCERTAINTY * overall) / (squares + UNCERTAINTY), 0, 1)
        error = float((errors - 2 * shares * products + shares**2 * squares).sum())
        return error, cls(shares, unsure)

    def __call__(self, pixels: np.ndarray, hidden: np.ndarray) -> np.ndarray:
        """Frames uint8 [n, H, W, 3], filled where they are hidden, bool [n, H, W].

        Hidden pixels are not read.
        """
        filled = np.array(pixels)
        shares = np.append(self.shares, 0)  # the last one is that of class -1
        for i, (carried, around, group) in enumerate(_fills(pixels, hidden, self.unsure)):
            if len(group):
                share = _without_steps(shares[group], group >= 0, hidden[i])
                fill = around + share[:, None] * (carried - around)
                filled[i][hidden[i]] = fill.round().clip(0, 255)
        return filled


def inpaint_frames(frames: np.ndarray, hidden: np.ndarray, kind: str = "INPAINT_NS") -> np.ndarray:
    """Fills each frame, uint8 [n, H, W, 3], by itself with OpenCV. A frame that is wholly hidden becomes 0.

    Args:
        kind: INPAINT_NS (Bertalmio et al. 2001) or INPAINT_TELEA (Telea 2004).
    """
    cv2 = require("cv2", "film")
    filled = np.where(hidden[..., None], np.uint8(0), frames)
    for i in np.flatnonzero(hidden.any((1, 2)) & ~hidden.all((1, 2))):
        part = surroundings(hidden[i], 2 * RADIUS)
        filled[i][part] = cv2.inpaint(
            np.ascontiguousarray(filled[i][part]),
            hidden[i][part].astype(np.uint8),
            RADIUS,
            getattr(cv2, kind),
        )
    return filled


def surroundings(hidden: np.ndarray, margin: int) -> tuple[slice, slice]:
    """The box around what is hidden, bool [H, W], with a margin within the frame."""
    bounds = (np.flatnonzero(hidden.any(axis)) for axis in (1, 0))
    rows, columns = (
        slice(max(0, int(b[0]) - margin), min(side, int(b[-1]) + 1 + margin))
        for b, side in zip(bounds, hidden.shape, strict=True)
    )
    return rows, columns


def _fills(pixels: np.ndarray, hidden: np.ndarray, unsure: int) -> list[_Fills]:
    """Both fills of each frame's hidden pixels."""
    nothing = _Fills(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), np.zeros(0, np.int64))
    fills = [nothing] * len(pixels)
    if not hidden.any():
        return fills
    cv2 = require("cv2", "film")
    cv2.setNumThreads(1)  # the flow depends on the number of threads
    deep = DEEP * min(pixels.shape[1:3])
    rows, columns = surroundings(np.any(hidden, axis=0), MARGIN)
    pixels, hidden = pixels[:, rows, columns], np.ascontiguousarray(hidden[:, rows, columns])
    around = inpaint_frames(pixels, hidden)
    wanted = np.stack([grow(frame, RIM) for frame in hidden])
    flows = find_flows(around, hidden, unsure, deep)
    directions = [carry(around, hidden, wanted, flows, is_later) for is_later in (False, True)]
    for i in np.flatnonzero(hidden.any((1, 2))):
        earlier, later = (_fitted(d[i], around[i], hidden[i], wanted[i]) for d in directions)
        weights = [1 / d.hops[:, None] ** 2 for d in (earlier, later)]  # 0 where nothing was carried
        total = np.maximum(weights[0] + weights[1], 1e-12)
        carried = (weights[0] * earlier.colours + weights[1] * later.colours) / total
        hops = np.minimum(earlier.hops, later.hops)
        distance = cv2.distanceTransform(hidden[i].astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        group = np.digitize(hops, HOPS) * (len(DISTANCES) + 1) + np.digitize(distance[hidden[i]], DISTANCES)
        group[np.isinf(hops)] = -1
        fills[i] = _Fills(carried, around[i][hidden[i]].astype(np.float32), group)
    return fills


def _without_steps(shares: np.ndarray, is_reached: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Shares of a frame's hidden pixels, [k], without steps between neighbours, which would show as lines.

    They fade to 0 towards pixels that nothing was carried to.
    """
    cv2 = require("cv2", "film")
    part = surroundings(hidden, 0)
    inside = hidden[part]
    picture, reached = np.zeros(inside.shape, np.float32), np.ones(inside.shape, np.uint8)
    picture[inside], reached[inside] = shares, is_reached
    smooth, weight = (cv2.blur(x, (BLUR, BLUR)) for x in (picture, inside.astype(np.float32)))
    from_unreached = cv2.distanceTransform(reached, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    smooth = smooth / np.maximum(weight, 1e-6) * np.clip((from_unreached - 1) / FADE, 0, 1)
    without_steps: np.ndarray = smooth[inside]
    return without_steps


def _fitted(carried: Carried, frame: np.ndarray, hidden: np.ndarray, wanted: np.ndarray) -> Carried:
    """Carried colours of the hidden pixels, shifted so that they meet the known ones at the rim."""
    part = surroundings(wanted, 0)
    is_hidden = hidden[wanted]
    reached = wanted.copy()
    reached[wanted] = np.isfinite(carried.hops) & ~is_hidden
    shift = np.zeros((*hidden.shape, 3), np.float32)
    shift[wanted] = (frame[wanted] - carried.colours).clip(-LARGEST_STEP, LARGEST_STEP)
    if reached.any():
        weight = torch.from_numpy(reached[part])[None, None].float()
        steps = torch.from_numpy(shift[part]).permute(2, 0, 1)[None] * weight
        shift[part] = fill_from_around(steps, weight)[0].permute(1, 2, 0).numpy()
    else:
        shift[:] = 0
    return Carried((carried.colours + shift[wanted])[is_hidden], carried.hops[is_hidden])
