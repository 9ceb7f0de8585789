"""Nearest neighbours, compared with a slow loop."""

import math

import numpy as np
import pytest
import torch

from diffmae_video.classification.neighbours import knn_accuracy


def slow_votes(train_x, train_y, x, allowed):
    cosine = {
        j: float(x @ train_x[j] / (x.norm() * train_x[j].norm())) for j in range(len(train_x)) if allowed(j)
    }
    votes = [0.0] * (int(train_y.max()) + 1)
    for j in sorted(cosine, key=cosine.get, reverse=True)[:20]:
        votes[train_y[j]] += math.exp(cosine[j] / 0.07)
    return votes.index(max(votes))


def test_knn_is_a_slow_loop(monkeypatch):
    monkeypatch.setattr("diffmae_video.classification.neighbours.ROWS_AT_ONCE", 16)  # several parts
    train_x, val_x = torch.randn(60, 8), torch.randn(41, 8)
    train_y, val_y = torch.randint(4, (60,)), torch.randint(5, (41,))
    right = [slow_votes(train_x, train_y, x, lambda _: True) == y for x, y in zip(val_x, val_y, strict=True)]
    assert knn_accuracy(train_x, train_y, val_x, val_y) == pytest.approx(np.mean(right))


def test_knn_leaves_out_what_it_is_told_to():
    x, y, videos = torch.randn(60, 8), torch.randint(4, (60,)), torch.randint(30, (60,))
    right = [slow_votes(x, y, x[i], lambda j, i=i: videos[j] != videos[i]) == y[i] for i in range(60)]
    same = videos[:, None] == videos[None]
    assert knn_accuracy(x, y, x, y, excluded=same) == pytest.approx(np.mean(right))


def test_knn_sees_classes_and_not_a_clips_own_video():
    labels = torch.arange(3).repeat_interleave(8)
    features = torch.eye(3)[labels] + 0.05 * torch.randn(24, 3)
    alone = torch.eye(24, dtype=torch.bool)
    assert knn_accuracy(features, labels, features, labels, excluded=alone) == 1
    # Each video is its own class: all that could help a clip is left out.
    same = labels[:, None] == labels[None]
    assert knn_accuracy(features, labels, features, labels, excluded=same) == 0
