"""Probabilities of nearest neighbours."""

import pytest
import torch

from diffmae_video.evaluation.scorers import NeighbourScorer


def scorer_of(**features):
    labels = [i for i, rows in enumerate(features.values()) for _ in rows]
    return NeighbourScorer(None, torch.cat(list(features.values())), torch.tensor(labels), list(features))


def angles(*radians):
    radians = torch.tensor(radians)
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def test_a_large_class_does_not_win_by_its_size():
    small, large = angles(0.0, 0.0), angles(*[0.3] * 30)
    scorer = scorer_of(small=small, large=large, opposite=-torch.cat([small, large]))  # the mean is 0
    probabilities = scorer.probabilities(angles(0.14, 0.2))
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2))
    assert probabilities.argmax(1).tolist() == [0, 1]


def test_what_all_features_have_in_common_does_not_count():
    common, direction = torch.full((16,), 10.0), torch.eye(16)[0]
    one = common + torch.tensor([[0.3], [-0.5]]) * direction  # the second is nearer to the other class
    other = common + torch.tensor([[-0.3], [-0.3], [-0.3]]) * direction
    probabilities = scorer_of(one=one, other=other).probabilities(one[:1])
    assert probabilities[0, 0].item() == pytest.approx(1, abs=1e-3)
