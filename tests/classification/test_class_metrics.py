"""Figures of a classification, compared with scikit-learn and with formulas written out."""

import numpy as np
import pytest
import torch
from sklearn import metrics

from diffmae_video.classification.class_metrics import (
    accuracy,
    average_precision,
    calibration_error,
    confusion_matrix,
    count_correct,
    mean_average_precision,
)


@pytest.fixture
def scores():
    """Logits of 200 videos of seven classes that are right more often than not, and their labels."""
    labels = torch.randint(7, (200,))
    return torch.randn(200, 7) + 2 * torch.nn.functional.one_hot(labels, 7), labels


def test_accuracies_and_confusions_are_those_of_scikit_learn(scores):
    logits, labels = scores
    for k in (1, 2, 5):
        assert accuracy(logits, labels, k) == pytest.approx(metrics.top_k_accuracy_score(labels, logits, k=k))
    predicted = logits.argmax(1)
    matrix = confusion_matrix(predicted, labels, 7)
    assert torch.equal(matrix, torch.from_numpy(metrics.confusion_matrix(labels, predicted)))


def test_the_calibration_error_is_that_of_a_loop(scores):
    logits, labels = scores
    probabilities = logits.softmax(1)
    total = 0.0
    for i in range(15):
        inside = [
            (float(row.max()), bool(row.argmax() == label))
            for row, label in zip(probabilities, labels, strict=True)
            if i / 15 < float(row.max()) <= (i + 1) / 15
        ]
        if inside:
            confidence, right = np.mean(inside, axis=0)
            total += len(inside) / len(labels) * abs(confidence - right)
    assert calibration_error(probabilities, labels) == pytest.approx(total)
    certain = torch.eye(7)[labels]
    assert calibration_error(certain, labels) == pytest.approx(0, abs=1e-6)
    assert calibration_error(certain, (labels + 1) % 7) == pytest.approx(1, abs=1e-6)


def test_average_precisions_are_those_of_scikit_learn():
    scores, targets = torch.randn(100, 5).round(decimals=1), (torch.rand(100, 5) < 0.3).float()  # with ties
    ours = average_precision(scores, targets)
    assert ours.numpy() == pytest.approx(metrics.average_precision_score(targets, scores, average=None))
    assert mean_average_precision(scores, targets) == pytest.approx(float(ours.mean()))
    targets[:, 2] = 0
    assert average_precision(scores, targets)[2].isnan()
    assert mean_average_precision(scores, targets) == pytest.approx(float(ours[[0, 1, 3, 4]].mean()))


def old_calibration_error(probabilities, labels, bins=15):
    """The formula that this project used before torchmetrics."""
    confidence, predicted = probabilities.double().max(1)
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gap = (predicted == labels).double() - confidence
    return float(torch.bincount(place, weights=gap, minlength=bins).abs().sum() / len(labels))


def old_average_precision(scores, targets):
    """The formula that this project used before torchmetrics."""
    result = []
    for score, is_of_class in zip(scores.T.contiguous(), targets.T.bool(), strict=True):
        own = score[is_of_class]
        found, taken = (len(x) - torch.searchsorted(x.sort().values, own) for x in (own, score))
        result.append((found.double() / taken).mean())
    return torch.stack(result)


@pytest.mark.parametrize("scale", [0.1, 1, 10, 100])  # from unsure to saturated
@pytest.mark.parametrize("classes", [2, 5, 400])
def test_figures_are_those_of_the_former_formulas(scale, classes):
    generator = torch.Generator().manual_seed(classes)
    logits = scale * torch.randn(300, classes, generator=generator)
    labels = torch.where(
        torch.rand(300, generator=generator) < 0.5,
        logits.argmax(1),
        torch.randint(classes, (300,), generator=generator),
    )
    for k in (1, 5):
        hits = (logits.topk(min(k, classes), dim=1).indices == labels[:, None]).any(1)
        assert count_correct(logits, labels, k) == int(hits.sum())
    matrix = torch.bincount(labels * classes + logits.argmax(1), minlength=classes**2)
    assert torch.equal(confusion_matrix(logits.argmax(1), labels, classes), matrix.view(classes, classes))
    probabilities = logits.softmax(1)
    assert calibration_error(probabilities, labels) == pytest.approx(
        old_calibration_error(probabilities, labels), abs=1e-6
    )
    targets = (torch.rand(300, classes, generator=generator) < 0.1).float()
    for scores in (logits, logits.round(), logits.masked_fill(targets[:, :1] > 0, -torch.inf)):
        torch.testing.assert_close(
            average_precision(scores, targets), old_average_precision(scores, targets), atol=1e-6, rtol=0
        )


def test_certain_predictions_share_a_bin_with_almost_certain_ones():
    probabilities = torch.tensor([[1.0, 0.0], [0.95, 0.05]])
    labels = torch.tensor([1, 0])
    assert calibration_error(probabilities, labels) == pytest.approx(0.5 * (1.95 - 1))


def test_a_single_class_is_always_right():
    logits, labels = torch.randn(4, 1), torch.zeros(4, dtype=torch.int64)
    assert accuracy(logits, labels) == 1
    assert confusion_matrix(labels, labels, 1).tolist() == [[4]]
    assert calibration_error(logits.softmax(1), labels) == 0
