"""The attentive probe, on a toy that only it can solve and on random labels."""

import torch

from diffmae_video.classification.neighbours import knn_accuracy
from diffmae_video.evaluation.attentive_probe import attentive_probe
from diffmae_video.evaluation.linear_probe import linear_probe


def two_marks(count):
    """Tokens [n, 8, 16] of noise; in class 1, dimensions 1 and 2 of one of them have the same sign.

    Another token takes both away again, so that the mean over tokens is the same in both classes.
    """
    labels = torch.arange(count) % 2
    tokens = 0.3 * torch.randn(count, 8, 16)
    for row, label in zip(tokens, labels, strict=True):
        first, second = torch.randperm(8)[:2]
        sign = 1 if torch.rand(()) < 0.5 else -1
        mark = torch.tensor([sign if label else -sign, sign]) * 4
        row[first, 0] += 4  # the one to look at
        row[first, 1:3] += mark
        row[second, 1:3] -= mark
    return tokens, labels


def test_the_attentive_probe_sees_what_the_mean_over_tokens_hides():
    (train_x, train_y), (val_x, val_y) = two_marks(400), two_marks(200)
    mean = linear_probe(train_x.mean(1), train_y, val_x.mean(1), val_y)
    assert abs(mean - 0.5) < 0.12
    assert attentive_probe(train_x, train_y, val_x, val_y, steps=200) > 0.95


def test_random_labels_stay_at_chance_and_the_seed_decides():
    train_x, val_x = torch.randn(200, 4, 16), torch.randn(400, 4, 16)
    train_y, val_y = torch.randint(4, (200,)), torch.randint(4, (400,))
    state = torch.get_rng_state()
    found = [attentive_probe(train_x, train_y, val_x, val_y, steps=60, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    assert found[0] == found[1] != found[2]
    pooled = train_x.mean(1), train_y, val_x.mean(1), val_y
    for accuracy in (*found, linear_probe(*pooled), knn_accuracy(*pooled)):
        assert abs(accuracy - 0.25) < 0.09  # four standard deviations
