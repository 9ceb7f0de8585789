"""The edges of a hole: grown, and faded into the film, so that no rim of the old object is seen."""

import math

import numpy as np

from diffmae_video.errors import require


def grow(mask: np.ndarray, pixels: int) -> np.ndarray:
    """A mask, bool [H, W], with every pixel that lies at most ``pixels`` from it.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    if pixels == 0 or not mask.any():
        return mask
    grown: np.ndarray = _distance_to(mask) ** 2 < pixels**2 + 0.5  # squared distances are whole numbers
    return grown


def opacity(hole: np.ndarray, feather: int) -> np.ndarray:
    """How much of the fill each pixel shows: float32 [H, W], 0 outside the hole.

    It rises over ``feather`` pixels from the hole's edge on, and is exactly 1 beyond: a hole that was grown
    by as many pixels shows nothing of what it hid before. The frame's border is no edge.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    if feather == 0 or hole.all():
        return hole.astype(np.float32)
    share: np.ndarray = np.minimum(_distance_to(~hole) / np.float32(math.sqrt(feather**2 + 1)), 1)
    share[share > 1 - 1e-5] = 1
    return share


def paste(frame: np.ndarray, fill: np.ndarray, hole: np.ndarray, feather: int) -> np.ndarray:
    """The frame with the fill in its hole: uint8 [H, W, 3]. Outside the hole it equals the frame.

    Args:
        frame, fill: uint8 [H, W, 3].
        hole: bool [H, W].
        feather: see :func:`opacity`.
    """
    if feather == 0:
        return np.where(hole[..., None], fill, frame)
    share = opacity(hole, feather)[..., None]
    blended = np.where(share == 1, fill, share * fill + (1 - share) * frame)
    return blended.round().astype(np.uint8)


def _distance_to(mask: np.ndarray) -> np.ndarray:
    """Each pixel's distance to the nearest pixel of a mask that is not empty: float32 [H, W]."""
    cv2 = require("cv2", "film")
    distance: np.ndarray = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return distance
