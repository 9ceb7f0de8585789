"""Classification by nearest neighbours among labelled features: nothing is trained."""

import torch
import torch.nn.functional as F
from torch import Tensor

NEIGHBOURS = 20  # with votes weighted at TEMPERATURE, as in DINO
TEMPERATURE = 0.07
ROWS_AT_ONCE = 1024  # bounds the memory of the similarities


def neighbour_votes(
    train_x: Tensor,
    train_y: Tensor,
    x: Tensor,
    classes: int,
    excluded: Tensor | None = None,
    neighbours: int = NEIGHBOURS,
) -> Tensor:
    """The votes of the nearest neighbours for each class: float [m, classes].

    The nearest neighbours have the highest cosine similarity s, and each votes with weight exp(s / 0.07)
    (Wu et al. 2018, with DINO's values).

    Args:
        train_x, x: float [n, D] and [m, D].
        train_y: int64 [n], from 0 to classes - 1.
        excluded: bool [m, n]; where true, the neighbour is ignored, for example because it shows the same
            video.
    """
    train, queries = F.normalize(train_x, dim=1), F.normalize(x, dim=1)
    votes = torch.zeros(len(x), classes, device=x.device)
    for rows in torch.arange(len(x), device=x.device).split(ROWS_AT_ONCE):
        similarity = queries[rows] @ train.T
        if excluded is not None:
            similarity = similarity.masked_fill(excluded[rows], -torch.inf)
        nearest = similarity.topk(min(neighbours, len(train)), dim=1)
        part = torch.zeros(len(rows), classes, device=x.device)
        part.scatter_add_(1, train_y[nearest.indices], (nearest.values / TEMPERATURE).exp())
        votes[rows] = part
    return votes


def knn_accuracy(
    train_x: Tensor, train_y: Tensor, val_x: Tensor, val_y: Tensor, excluded: Tensor | None = None
) -> float:
    """The share of ``val`` for whose class its neighbours in ``train`` vote most.

    Args:
        train_x, train_y, excluded: see :func:`neighbour_votes`.
        val_x, val_y: float [m, D] and int64 [m].
    """
    votes = neighbour_votes(train_x, train_y, val_x, int(train_y.max()) + 1, excluded)
    return int((votes.argmax(1) == val_y).sum()) / len(val_y)
