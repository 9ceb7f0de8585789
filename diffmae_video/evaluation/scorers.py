"""Turns clips into class probabilities: by a fine-tuned classifier, or by labelled neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from diffmae_video.classification.neighbours import NEIGHBOURS, neighbour_votes
from diffmae_video.config import load_recipe
from diffmae_video.data import ClipSampler, class_indices, class_names, normalise, read_list
from diffmae_video.evaluation.features import extract_features
from diffmae_video.frozen_model import FrozenModel, load_frozen
from diffmae_video.models import Classifier, load_classifier
from diffmae_video.runtime.device import default_device


class Scorer(Protocol):
    """What :class:`~diffmae_video.evaluation.predict.Predictor` needs to name the classes of clips."""

    classes: list[str]

    def outputs(self, clips: Tensor) -> Tensor:
        """Clips uint8 [B, T, H, W, 3] -> [B, K], to be averaged over the clips of a video."""

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Averaged outputs [B, K] -> probabilities [B, classes]."""


class ClassifierScorer:
    """Scores clips with a classifier; the outputs are its logits.

    Args:
        model: on the device on which it is to run.
    """

    def __init__(self, model: Classifier) -> None:
        self.model, self.classes = model, model.classes
        self.device = next(model.parameters()).device

    @torch.no_grad()
    def outputs(self, clips: Tensor) -> Tensor:
        logits: Tensor = self.model(normalise(clips.to(self.device), self.model.mean, self.model.std))
        return logits.float()

    def probabilities(self, outputs: Tensor) -> Tensor:
        return self.model.probabilities(outputs)


class NeighbourScorer:
    """Scores clips by the votes of the most similar labelled videos; the outputs are features.

    Votes are those of :func:`~diffmae_video.classification.neighbours.neighbour_votes`, with two changes
    (our choice): features are centred on the mean of the labelled videos, because features of a frozen
    model have a large part in common; and no more neighbours vote than the smallest class has videos, so
    that a large class does not win by its size.

    Args:
        train_x: features float [n, D] of the labelled videos, on the model's device.
        train_y: int64 [n], indices into ``classes``.
    """

    def __init__(self, frozen: FrozenModel, train_x: Tensor, train_y: Tensor, classes: Sequence[str]) -> None:
        self.frozen, self.classes = frozen, list(classes)
        self.mean = train_x.mean(0)
        self.train_x, self.train_y = train_x - self.mean, train_y
        sizes = torch.bincount(train_y)
        self.neighbours = min(NEIGHBOURS, int(sizes[sizes > 0].min()))

    def outputs(self, clips: Tensor) -> Tensor:
        return self.frozen.tokens_and_features(clips)[1]

    def probabilities(self, outputs: Tensor) -> Tensor:
        votes = neighbour_votes(
            self.train_x, self.train_y, outputs - self.mean, len(self.classes), neighbours=self.neighbours
        )
        return votes / votes.sum(1, keepdim=True)


class LoadedScorer(NamedTuple):
    """A scorer, and how the clips that it scores are read."""

    scorer: Scorer
    clip_sampler: ClipSampler
    size: tuple[int, int]  # of a clip, (height, width) in pixels
    batch: int  # clips of one forward pass
    backend: str  # backend, short_side, timeout: see RandomClips
    short_side: int
    timeout: float

    @classmethod
    def of(cls, scorer: Scorer, cfg: CfgNode, num_frames: int, size: tuple[int, int]) -> LoadedScorer:
        """A scorer of clips of these frames and this size, sampled and decoded as a config says."""
        data = cfg.DATA
        sampler, batch = ClipSampler(num_frames, data.STRIDE, data.FPS), cfg.EVALUATION.BATCH_SIZE
        return cls(scorer, sampler, size, batch, data.BACKEND, data.SHORT_SIDE, data.TIMEOUT)


def load_classifier_scorer(checkpoint: str | Path, options: Sequence[Any]) -> LoadedScorer:
    """The classifier of a fine-tuning run.

    Args:
        checkpoint: a folder with config.json, model.safetensors and config.yaml.
        options: options that replace the run's, ``[KEY, VALUE, ...]``.

    Raises:
        InputError: the folder has no classifier or no config.yaml, or an option is wrong.
    """
    model = load_classifier(checkpoint)
    cfg = load_recipe(checkpoint, options)
    (t, h, w), (a, p, q) = model.encoder.grid, model.encoder.patch
    return LoadedScorer.of(ClassifierScorer(model.to(default_device())), cfg, t * a, (h * p, w * q))


def load_neighbour_scorer(
    checkpoint: str | Path, labelled: str | Path, options: Sequence[Any], views: int
) -> LoadedScorer:
    """Nearest neighbours among labelled videos; nothing is trained.

    Args:
        checkpoint, options: see :func:`~diffmae_video.frozen_model.load_frozen`.
        labelled: a list or a folder of videos with one label each.
        views: clips of each labelled video, whose features are averaged.

    Raises:
        InputError: the checkpoint or the list cannot be read, a video has no label, or no video can be
            read.
    """
    frozen = load_frozen(checkpoint, options)
    cfg = frozen.cfg
    entries = read_list(labelled, cfg.DATA.ROOT, images=cfg.DATA.NUM_FRAMES == 1)
    class_names(entries)  # reports a video without a label before the work starts
    views = views if cfg.DATA.NUM_FRAMES > 1 else 1
    features = extract_features(frozen, entries, cfg.EVALUATION.BATCH_SIZE, views=(views, 1))
    classes = class_names(features.entries)
    labels = torch.tensor(class_indices(features.entries, classes), device=frozen.device)
    scorer = NeighbourScorer(frozen, features.pooled.to(frozen.device), labels, classes)
    return LoadedScorer.of(scorer, cfg, cfg.DATA.NUM_FRAMES, tuple(cfg.DATA.SIZE))
