"""The loss of fine-tuning, with mixed clips and weighted classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from diffmae_video.data import LabelledClips, normalise
from diffmae_video.data.augment import MixAugmentation
from diffmae_video.errors import InputError
from diffmae_video.randomness import random_state
from diffmae_video.training.loop import NOT_DATA


def class_weights(source: str, classes: Sequence[str], labels: Tensor) -> Tensor | None:
    """The weight of each class in the loss, float32 [classes]; None if all are 1.

    With ``balanced``, a class is weighted by the inverse of its frequency, with a mean of 1 over the samples;
    with several labels, a class's positives weigh as much as its negatives.

    Args:
        source: ``balanced``, a YAML file of class: weight, or empty.
        labels: of the training videos, int64 [n] or float [n, classes].

    Raises:
        InputError: the file is not a mapping of classes to weights, or lacks a class.
    """
    if not source:
        return None
    if source == "balanced":
        if labels.ndim == 2:
            positives = labels.sum(0)
            return (len(labels) - positives) / positives
        return len(labels) / (len(classes) * torch.bincount(labels, minlength=len(classes)).float())
    try:
        given = yaml.safe_load(Path(source).read_text(encoding="utf-8"))
        by_name = {str(name): float(weight) for name, weight in given.items()}
    except (OSError, yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"FINETUNE.CLASS_WEIGHTS: {source} is not a YAML file of class: weight ({reason})"
        ) from error
    for name in classes:
        if by_name.get(name, -1.0) < 0:
            raise InputError(f"{source}: class {name!r} has no weight of 0 or more")
    return torch.tensor([by_name[name] for name in classes])


class FinetuningLoss:
    """The loss of a batch. Mixup and CutMix depend only on the seed and the batch's place in the stream.

    Cross-entropy with soft targets, or binary cross-entropy for each of several labels; weighted sums are
    divided by the number of clips. iGPT's own generative loss can be added (its joint objective).

    Args:
        mix: mixup, CutMix and label smoothing.
        mean, std: of the normalisation, one number per channel.
        seed: of the mixing.
        class_weights: float [classes]; None for all 1.
        multi_label: whether a video may have several labels.
        generative_weight: of iGPT's generative loss; 0 leaves it out.
    """

    def __init__(
        self,
        engine: Any,
        device: torch.device,
        mix: MixAugmentation,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        seed: int,
        class_weights: Tensor | None,
        multi_label: bool,
        generative_weight: float,
    ) -> None:
        self.engine, self.device, self.mix = engine, device, mix
        self.mean, self.std, self.seed = mean, std, seed
        self.class_weights = None if class_weights is None else class_weights.to(device)
        self.multi_label, self.generative_weight = multi_label, generative_weight

    def __call__(self, batch: LabelledClips) -> Tensor:
        clips = normalise(batch.clips.to(self.device, non_blocking=True), self.mean, self.std)
        labels = batch.labels.to(self.device, non_blocking=True)
        clips, targets = self.mix(clips, labels, random_state(self.seed, batch.samples[0].position, NOT_DATA))
        if not self.generative_weight:
            return classification_loss(self.engine(clips), targets, self.class_weights, self.multi_label)
        logits, generative = self.engine(clips, generative=True)
        loss = classification_loss(logits, targets, self.class_weights, self.multi_label)
        return loss + self.generative_weight * generative


def classification_loss(logits: Tensor, targets: Tensor, weights: Tensor | None, multi_label: bool) -> Tensor:
    """The loss in float32. With several labels ``weights`` apply to positives.

    Args:
        logits, targets: [B, classes].
        weights: [classes].
    """
    logits = logits.float()
    if multi_label:
        return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights)
    return F.cross_entropy(logits, targets, weight=weights)
