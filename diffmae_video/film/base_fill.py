"""A first fill of hidden pixels from the known ones, which the fitted model corrects.

The model predicts the difference from this fill, and not the pixels themselves: what the film shows at the
same place at another time need not be learnt (our choice).
"""

from __future__ import annotations

from torch import Tensor

from diffmae_video.film.camera import fill_from_around

FALL = 4.0  # weights of frames fall with this power of their distance in time


def base_fill(pixels: Tensor, known: Tensor, frames: Tensor, at: Tensor) -> Tensor:
    """Fills a part of the canvas from known pixels at the same place, the nearest frames first.

    A pixel that no frame knows is filled from around it.

    Args:
        pixels: float [n, 3, h, w], of the frames that may be read.
        known: bool [n, h, w].
        frames: their numbers, float [n].
        at: numbers of the frames to fill, float [T].

    Returns:
        float [T, 3, h, w]. Where a frame's own pixel is known it is part of the mean, with a large weight.
    """
    h, w = pixels.shape[-2:]
    weights = 1 / (0.3 + (at[:, None] - frames).abs()) ** FALL  # [T, n]
    known_pixels = known.flatten(1).float()  # [n, h w]
    total = weights @ known_pixels  # [T, h w]
    values = (pixels.flatten(2) * known_pixels[:, None]).flatten(1)  # [n, 3 h w]
    means = (weights @ values).view(len(at), 3, h, w) / total.view(-1, 1, h, w).clamp_min(1e-30)
    has_value = (total > 0).view(-1, 1, h, w).float()
    return fill_from_around(means * has_value, has_value)
