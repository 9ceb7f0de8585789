"""Figures of a classification, by torchmetrics: accuracy, calibration error, average precision.

All take and return tensors on the CPU; shares are from 0 to 1.
"""

from typing import Any

import torch
from torch import Tensor

from diffmae_video.errors import require

CALIBRATION_BINS = 15


def torchmetrics() -> Any:
    """torchmetrics' functions for classification, imported where they are used: that takes seconds.

    Raises:
        MissingExtraError: torchmetrics is not installed.
    """
    return require("torchmetrics.functional.classification", "train")


def count_correct(logits: Tensor, labels: Tensor, k: int = 1) -> int:
    """The number of rows whose label is among the k highest logits.

    Args:
        logits: float [n, C].
        labels: int64 [n].
    """
    if logits.shape[1] <= k:
        return len(logits)
    true_positives, *_ = torchmetrics().multiclass_stat_scores(
        logits, labels, logits.shape[1], top_k=k, average="micro"
    )
    return int(true_positives)


def accuracy(logits: Tensor, labels: Tensor, k: int = 1) -> float:
    """The share of rows that :func:`count_correct` counts."""
    return count_correct(logits, labels, k) / len(labels)


def confusion_matrix(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """How many videos of each class (row) were predicted as each class (column): int64 [C, C].

    Args:
        predicted, labels: int64 [n].
    """
    if classes == 1:  # torchmetrics takes two or more
        return torch.tensor([[len(labels)]])
    return torchmetrics().multiclass_confusion_matrix(predicted, labels, classes)


def calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """Expected calibration error (Guo et al. 2017), with 15 bins of equal width.

    Args:
        probabilities: [n, C]; rows sum to 1.
        labels: int64 [n].
    """
    if probabilities.shape[1] == 1:  # always right, with probability 1
        return 0.0
    # torchmetrics gives a probability of exactly 1 a bin of its own; it belongs to the last one.
    below_1 = probabilities.float().clamp_max(1 - torch.finfo(torch.float32).eps)
    return float(
        torchmetrics().multiclass_calibration_error(
            below_1, labels, probabilities.shape[1], n_bins=CALIBRATION_BINS
        )
    )


def average_precision(scores: Tensor, targets: Tensor) -> Tensor:
    """The area under the precision-recall curve of each class: float64 [C], NaN for a class without videos.

    Args:
        scores: [n, C]; higher means more likely. Only their order counts.
        targets: [n, C], 1 where a video belongs to a class and 0 elsewhere.
    """
    result = torch.full((scores.shape[1],), torch.nan, dtype=torch.float64)
    occurs = targets.bool().any(0)
    # torchmetrics takes the sigmoid of what is not in [0, 1], which merges high logits. Ranks stay apart.
    ranks = scores.unique(return_inverse=True)[1].double()
    if occurs.any():
        result[occurs] = (
            torchmetrics()
            .multilabel_average_precision(
                (ranks / ranks.max().clamp_min(1))[:, occurs],
                targets[:, occurs].long(),
                int(occurs.sum()),
                average=None,
            )
            .double()
        )
    return result


def mean_average_precision(scores: Tensor, targets: Tensor) -> float:
    """The mean of :func:`average_precision` over the classes that have videos."""
    return float(average_precision(scores, targets).nanmean())
