"""The linear probe, compared with scikit-learn."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from diffmae_video.evaluation.linear_probe import fit_logistic, held_out_fifth, linear_probe


def overlapping_classes(count, width=12, classes=4):
    """Features whose classes overlap, on scales from 0.01 to 100."""
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(5))
    x = centres[labels] + 1.5 * torch.randn(count, width)
    return x * torch.logspace(-2, 2, width) + 3, labels


@pytest.mark.parametrize("penalty", [1.0, 1e-2, 1e-4])
def test_logistic_regression_is_scikit_learns(penalty):
    x, y = overlapping_classes(300)
    x = torch.from_numpy(StandardScaler().fit_transform(x.double()))
    theirs = LogisticRegression(C=1 / (len(x) * penalty), tol=1e-8, max_iter=10_000).fit(x, y)
    weight, bias = fit_logistic(x, y, penalty, 4)
    ours = F.softmax(F.linear(x, weight, bias), 1)
    assert np.abs(ours.numpy() - theirs.predict_proba(x)).max() < 1e-4
    assert log_loss(y, ours) == pytest.approx(log_loss(y, theirs.predict_proba(x)), abs=1e-5)


def test_the_linear_probe_is_scikit_learns_pipeline():
    (train_x, train_y), (val_x, val_y) = (overlapping_classes(count, width=40) for count in (150, 1000))
    scaler = StandardScaler().fit(train_x.double())
    held_out = held_out_fifth(train_y, seed=3)
    penalties = [100.0, 1.0, 1e-2, 1e-6]

    def fit(rows, penalty):
        x, y = scaler.transform(train_x[rows].double()), train_y[rows]
        return LogisticRegression(C=1 / (len(x) * penalty), tol=1e-8, max_iter=10_000).fit(x, y)

    def cost(penalty):
        fitted, y = fit(~held_out, penalty), train_y[held_out]
        x = scaler.transform(train_x[held_out].double())
        return -fitted.score(x, y), log_loss(y, fitted.predict_proba(x))

    best = min(penalties, key=cost)
    assert best not in (penalties[0], penalties[-1])  # so that the choice is one
    expected = fit(torch.ones(150, dtype=torch.bool), best).score(scaler.transform(val_x.double()), val_y)
    assert 0.5 < expected < 1
    found = linear_probe(train_x, train_y, val_x, val_y, penalties, seed=3)
    assert found == pytest.approx(expected, abs=0.003)


def test_a_fifth_of_each_class_is_held_out():
    labels = torch.randint(3, (200,))
    held_out = held_out_fifth(labels, seed=0)
    assert torch.equal(held_out, held_out_fifth(labels, seed=0))
    assert not torch.equal(held_out, held_out_fifth(labels, seed=1))
    for label in range(3):
        assert float(held_out[labels == label].float().mean()) == pytest.approx(0.2, abs=0.03)


def test_validation_has_no_part_in_the_choice_of_the_penalty():
    """The same classifier, whatever is asked of it: each row's answer is its own."""
    (train_x, train_y), (val_x, val_y) = overlapping_classes(100), overlapping_classes(60)
    whole = linear_probe(train_x, train_y, val_x, val_y)
    parts = [
        linear_probe(train_x, train_y, val_x[i : i + 20], val_y[i : i + 20], seed=0) for i in (0, 20, 40)
    ]
    assert whole == pytest.approx(np.mean(parts))
