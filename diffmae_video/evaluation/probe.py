"""Measures how well frozen features separate classes: linear probe, attentive probe, nearest neighbours."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diffmae_video.classification.neighbours import knn_accuracy
from diffmae_video.data import Entry, class_indices, class_names, read_list
from diffmae_video.errors import InputError
from diffmae_video.evaluation.attentive_probe import attentive_probe
from diffmae_video.evaluation.features import Features, extract_features
from diffmae_video.evaluation.linear_probe import held_out_fifth, linear_probe
from diffmae_video.frozen_model import FrozenModel, load_frozen
from diffmae_video.models import Backbone

KINDS = ("linear", "attentive", "knn")
LAYER_ENTRIES = 10000


def probe(
    checkpoint: str | Path, options: Sequence[Any] = (), kinds: Sequence[str] = KINDS
) -> dict[str, float]:
    """Trains probes on DATA.TRAIN and measures their accuracy on DATA.VAL, with one view of each video.

    Args:
        checkpoint, options: see :func:`~diffmae_video.frozen_model.load_frozen`.
        kinds: of :data:`KINDS`.

    Returns:
        The accuracy of each kind; ``classes``; ``train`` and ``val``, the numbers of videos that were
        read; ``dim``, the width of the features; for iGPT the ``layer`` they come from.

    Raises:
        InputError: a list is missing, cannot be read or lacks labels, or DATA.VAL has a label that
            DATA.TRAIN does not; see also :func:`~diffmae_video.evaluation.features.extract_features`.
    """
    frozen = load_frozen(checkpoint, options)
    cfg = frozen.cfg
    lists = {}
    for key in ("TRAIN", "VAL"):
        if not cfg.DATA[key]:
            raise InputError(f"DATA.{key}: give a labelled list, say DATA.{key} {key.lower()}.csv")
        lists[key] = read_list(cfg.DATA[key], cfg.DATA.ROOT, images=cfg.DATA.NUM_FRAMES == 1)
    if cfg.FINETUNE.MULTI_LABEL:
        raise InputError("FINETUNE.MULTI_LABEL: probes need one label per video; set it to False")
    names = class_names(lists["TRAIN"])
    class_indices(lists["VAL"], names)  # reports an unknown label before the work starts

    def features_of(key: str) -> tuple[Features, Tensor]:
        keep_tokens = "attentive" in kinds
        features = extract_features(frozen, lists[key], cfg.EVALUATION.BATCH_SIZE, keep_tokens=keep_tokens)
        return features, torch.tensor(class_indices(features.entries, names))

    model = frozen.model
    if model.feature_layer is not None and not cfg.MODEL.IGPT.LAYER:
        model.backbone().set_feature_layer(best_layer(frozen, lists["TRAIN"], names))
    (train, train_y), (val, val_y) = features_of("TRAIN"), features_of("VAL")
    device, seed = frozen.device, cfg.TRAIN.SEED
    pooled = (train.pooled.to(device), train_y.to(device), val.pooled.to(device), val_y.to(device))
    figures: dict[str, float] = {}
    if model.feature_layer is not None:
        figures["layer"] = model.feature_layer
    if "linear" in kinds:
        figures["linear"] = linear_probe(*pooled, seed=seed)
    if "attentive" in kinds:
        assert train.tokens is not None
        assert val.tokens is not None
        figures["attentive"] = attentive_probe(
            train.tokens, train_y, val.tokens, val_y, seed=seed, device=device
        )
    if "knn" in kinds:
        figures["knn"] = knn_accuracy(*pooled)
    return figures | {
        "classes": len(names),
        "train": len(train_y),
        "val": len(val_y),
        "dim": train.pooled.shape[1],
    }


def best_layer(frozen: FrozenModel, entries: Sequence[Entry], names: Sequence[str]) -> int:
    """The layer whose features classify a held-out fifth of the entries best by neighbours.

    The lowest of equals. At most :data:`LAYER_ENTRIES` entries, spread evenly, are used (our choice).

    Args:
        names: of the classes.
    """
    places = np.linspace(0, len(entries) - 1, min(LAYER_ENTRIES, len(entries))).round().astype(int)
    chosen = [entries[i] for i in places]
    layers = dataclasses.replace(frozen, model=AllLayers(frozen.model.backbone()))  # type: ignore[arg-type]
    features = extract_features(layers, chosen, frozen.cfg.EVALUATION.BATCH_SIZE, keep_tokens=True)
    assert features.tokens is not None
    labels = torch.tensor(class_indices(features.entries, names))
    held_out = held_out_fifth(labels, frozen.cfg.TRAIN.SEED)
    accuracies = [
        knn_accuracy(x[~held_out], labels[~held_out], x[held_out], labels[held_out])
        for x in features.tokens.unbind(1)
    ]
    return 1 + int(np.argmax(accuracies))


class AllLayers(nn.Module):
    """A backbone with the mean token of each layer in place of tokens: [B, depth, D]."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def tokens_and_features(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        layers = self.backbone.layer_features(clip)
        return layers, layers.mean(1)
