"""The attentive probe, on a toy that only it can solve and on random labels."""

import torch

from diffmae_video.classification.neighbours import knn_accuracy
from diffmae_video.evaluation.attentive_probe import attentive_probe, probe_steps
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


def test_steps_follow_the_number_of_videos():
    assert [probe_steps(n) for n in (1, 5, 64, 128)] == [200, 200, 200, 400]
    assert [probe_steps(n) for n in (320, 1000, 3200)] == [1000, 1000, 1000]
    assert [probe_steps(n) for n in (3201, 240_000)] == [1001, 75_000]


def test_two_hundred_steps_are_enough_for_a_handful_of_videos():
    tokens, labels = torch.randn(10, 8, 16), torch.arange(10) % 2
    tokens[labels == 1, :, :4] += 3
    held_out = torch.randn(40, 8, 16)
    held_out[20:, :, :4] += 3
    assert attentive_probe(tokens, labels, held_out, torch.arange(40) // 20) > 0.9
