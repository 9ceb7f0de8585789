"""The loss of fine-tuning against timm's, and the weights of classes against plain formulas."""

import pytest
import torch
from timm.data.mixup import mixup_target
from timm.loss import SoftTargetCrossEntropy

from diffmae_video import InputError
from diffmae_video.data.augment import MixAugmentation
from diffmae_video.training.finetuning_loss import class_weights, classification_loss


def test_the_loss_of_mixed_clips_is_timms():
    clips, labels = torch.randn(2, 3, 2, 8, 8), torch.tensor([1, 3])
    logits = torch.randn(2, 5)
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        mixed, targets = MixAugmentation(5, 0.8, 0.0, 0.1)(clips, labels, generator)
        share = float(((mixed - clips.flip(0)) / (clips - clips.flip(0))).median())
        expected = mixup_target(labels, 5, share, 0.1)  # of two, the flipped batch is the rolled one
        torch.testing.assert_close(targets, expected, atol=1e-4, rtol=1e-4)
        loss = classification_loss(logits, targets, None, multi_label=False)
        torch.testing.assert_close(loss, SoftTargetCrossEntropy()(logits, expected), atol=1e-4, rtol=1e-4)


def test_several_labels_are_mixed_and_smoothed_one_by_one():
    clips, labels = torch.randn(2, 3, 2, 8, 8), torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    generator = torch.Generator().manual_seed(0)
    mixed, targets = MixAugmentation(3, 0.8, 0.0, 0.1)(clips, labels, generator)
    share = float(((mixed - clips.flip(0)) / (clips - clips.flip(0))).median())
    expected = 0.9 * (share * labels + (1 - share) * labels.flip(0)) + 0.05
    torch.testing.assert_close(targets, expected, atol=1e-4, rtol=1e-4)
    logits, weights = torch.randn(2, 3), torch.tensor([1.0, 2.0, 3.0])
    p = logits.sigmoid()
    slow = -(weights * targets * p.log() + (1 - targets) * (1 - p).log()).mean()
    torch.testing.assert_close(classification_loss(logits, targets, weights, True), slow)


def test_balanced_classes_weigh_the_same_in_sum():
    labels = torch.tensor([0, 0, 0, 1, 2, 2])
    weights = class_weights("balanced", ["a", "b", "c"], labels)
    totals = weights * torch.bincount(labels)
    torch.testing.assert_close(totals, torch.full((3,), len(labels) / 3))
    several = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    weights = class_weights("balanced", ["a", "b"], several)
    torch.testing.assert_close(weights * several.sum(0), (1 - several).sum(0))
    assert class_weights("", ["a", "b"], several) is None


def test_a_file_names_the_weights(tmp_path):
    file = tmp_path / "weights.yaml"
    file.write_text("run: 2\njump: 0.5\n1: 3\n")
    weights = class_weights(file, ["1", "jump", "run"], torch.tensor([0]))
    assert weights.tolist() == [3.0, 0.5, 2.0]
    with pytest.raises(InputError, match=r"class 'swim' has no weight of 0 or more"):
        class_weights(file, ["swim"], torch.tensor([0]))
    file.write_text("- run\n")
    with pytest.raises(InputError, match="is not a YAML file of class: weight"):
        class_weights(file, ["run"], torch.tensor([0]))
