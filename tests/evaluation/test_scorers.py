"""Probabilities of nearest neighbours."""

import torch

from diffmae_video.evaluation.scorers import NeighbourScorer


def test_a_large_class_does_not_win_by_its_size():
    """All features have a large part in common; the small class has two videos, the large one thirty."""
    common = torch.full((16,), 10.0)
    small = common + 0.3 * torch.eye(16)[0] + 0.01 * torch.randn(2, 16)
    large = common - 0.3 * torch.eye(16)[0] + 0.01 * torch.randn(30, 16)
    scorer = NeighbourScorer(
        frozen=None,
        train_x=torch.cat([small, large]),
        train_y=torch.tensor([0] * 2 + [1] * 30),
        classes=["small", "large"],
    )
    probabilities = scorer.probabilities(torch.stack([small.mean(0), large.mean(0)]))
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2))
    assert probabilities[0, 0] > 0.9
    assert probabilities[1, 1] > 0.9
