"""A first fill of hidden pixels from the known ones, which the fitted model corrects.

The model predicts the difference from this fill, and not the pixels themselves: what the film shows at the
same place at another time need not be learnt (our choice).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from diffmae_video.film.camera import fill_from_around

FALL = 4.0  # weights of frames fall with this power of their distance in time
AROUND = 33  # pixels; the width of the surroundings that a pixel is predicted from
LEAST_ERROR = 4.0  # squared levels of 255; smaller errors do not count


def base_fill(pixels: Tensor, known: Tensor, frames: Tensor, at: Tensor) -> Tensor:
    """Fills a part of the canvas, from the same place at other times and from around the hole.

    Each hidden pixel is a mean of the two, weighted by how badly either predicts the known pixels near it, as
    the inverse of the squared error (our choice).

    Args:
        pixels: float [n, 3, h, w] in levels of 255, of the frames that may be read.
        known: bool [n, h, w].
        frames: their numbers, float [n].
        at: numbers of the frames to fill, float [T]; all are among ``frames``.

    Returns:
        float [T, 3, h, w]: the known pixels, and the fill elsewhere.
    """
    distance = (at[:, None] - frames).abs()  # [T, n]
    weights = 1 / (0.3 + distance) ** FALL
    rows = distance.argmin(1)
    own, own_known = pixels[rows], known[rows, None].float()  # [T, 3, h, w], [T, 1, h, w]
    over_time, total = _mean_over_time(weights, pixels, known)
    around = fill_from_around(own * own_known, own_known)
    time_error = _error_over_time(weights, distance, pixels, known, own, own_known, total)
    around_error = _error_around(own, own_known)
    share = around_error / (around_error + time_error)  # of the fill over time
    fill = around + (share * (total > 0)) * (over_time - around)
    return torch.where(own_known > 0, own, fill)


def _mean_over_time(weights: Tensor, pixels: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted means of known pixels [T, 3, h, w], and their weights [T, 1, h, w]."""
    n, _, h, w = pixels.shape
    chosen = known.flatten(1).float()  # [n, h w]
    total = (weights @ chosen).view(-1, 1, h, w)
    values = (pixels.flatten(2) * chosen[:, None]).reshape(n, -1)  # [n, 3 h w]
    return (weights @ values).view(-1, 3, h, w) / total.clamp_min(1e-30), total


def _error_over_time(
    weights: Tensor,
    distance: Tensor,
    pixels: Tensor,
    known: Tensor,
    own: Tensor,
    own_known: Tensor,
    total: Tensor,
) -> Tensor:
    """The squared error of filling known pixels from frames as far away as those that fill the hole."""
    hidden = (own_known == 0) & (total > 0)
    gap = float(total[hidden].median() ** (-1 / FALL)) if hidden.any() else 1.0
    far = weights * (distance >= max(1.0, round(gap)))
    predicted, weight = _mean_over_time(far, pixels, known)
    comparable = own_known * (weight > 0)
    error = ((predicted - own) ** 2).mean(1, keepdim=True)
    return _spread(error, comparable)


def _error_around(own: Tensor, own_known: Tensor) -> Tensor:
    """The squared error of filling known pixels with the mean of their surroundings."""
    known, values = (
        F.avg_pool2d(x, AROUND, 1, AROUND // 2, count_include_pad=False) for x in (own_known, own * own_known)
    )
    error = ((values / known.clamp_min(1e-6) - own) ** 2).mean(1, keepdim=True)
    return _spread(error, own_known)


def _spread(error: Tensor, where: Tensor) -> Tensor:
    """Errors [T, 1, h, w], at hidden pixels those near them."""
    smooth = F.avg_pool2d(error * where, 9, 1, 4), F.avg_pool2d(where, 9, 1, 4)
    local = smooth[0] / smooth[1].clamp_min(1e-6)
    weight = (smooth[1] > 0).float()
    return fill_from_around((local * weight).expand(-1, 3, -1, -1), weight)[:, :1] + LEAST_ERROR
