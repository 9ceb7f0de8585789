"""Figures of an evaluation in which some videos cannot be read."""

import pytest
import torch

from diffmae_video.classification.classify import Predictions
from diffmae_video.evaluation.evaluate_classifier import measure
from tests.tiny_models import tiny_classifier


def test_unread_videos_count_as_wrong_or_not_at_all():
    logits = torch.tensor([[3.0, 0, 0], [0, 3, 0], [0, 0, 0], [3, 0, 0]])
    found = Predictions(logits, torch.tensor([True, True, False, True]), ["", "", "broken", ""])
    labels, model = torch.tensor([0, 1, 0, 1]), tiny_classifier()
    by_class, wrong = measure(model, found, labels, torch.ones(4, dtype=torch.bool))
    assert (wrong["top1"], wrong["top5"], wrong["mean_class_accuracy"]) == (0.5, 0.75, 0.5)
    assert by_class["videos"].tolist() == [2, 2, 0]
    assert by_class["correct"].tolist() == [1, 1, 0]
    by_class, left_out = measure(model, found, labels, found.was_read)
    assert left_out["top1"] == pytest.approx(2 / 3)
    assert (left_out["top5"], left_out["mean_class_accuracy"]) == (1, 0.75)
    assert left_out["ece"] == wrong["ece"]
    assert by_class["videos"].tolist() == [1, 2, 0]

    targets = torch.eye(3)[labels]
    several = tiny_classifier(multi_label=True)
    assert measure(several, found, targets, found.was_read)[1]["map"] == pytest.approx((1 / 2 + 5 / 6) / 2)
    everything = torch.ones(4, dtype=torch.bool)
    expected = ((1 / 2 + 2 / 4) / 2 + 5 / 6) / 2  # of class 0 the unread one comes last; class 1 has none
    assert measure(several, found, targets, everything)[1]["map"] == pytest.approx(expected)
