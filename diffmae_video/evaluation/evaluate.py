"""The evaluation of a fine-tuned classifier: from its folder and a labelled list to figures and files."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from diffmae_video.build import evaluation_dataset
from diffmae_video.config import load_config, recipe_of
from diffmae_video.cost.flops import count_macs
from diffmae_video.data import label_targets, read_list
from diffmae_video.data.classes import SEPARATOR
from diffmae_video.errors import InputError, require
from diffmae_video.evaluation.classify import (
    Predictions,
    average_precision,
    calibration_error,
    class_accuracy,
    classify,
    confusion_matrix,
    hits,
)
from diffmae_video.evaluation.report import draw_confusion, write_classes, write_predictions
from diffmae_video.files import write_tensors, write_text
from diffmae_video.models import Classifier, load_model
from diffmae_video.models.card import write_card
from diffmae_video.models.pretrained import load_weights
from diffmae_video.runtime.processes import start_process
from diffmae_video.runtime.stops import lost_peers
from diffmae_video.training.checkpoints import file_of
from diffmae_video.training.state import EMA

POSITIVE = 0.5  # the probability from which on a class of several is said to be there


def evaluate(
    folder: Path, overrides: Sequence[Any], output: Path, average: bool = False
) -> dict[str, Any] | None:
    """Classifies the videos of DATA.VAL on EVALUATION.VIEWS and writes down what came out.

    In float32 (on a GPU TF32), with the model's own mean and std. ``output`` gets metrics.json,
    predictions.csv, per_class.csv, logits.safetensors (in the order of the list) and, where a video has
    one label, confusion.png.

    Args:
        folder: of a fine-tuned model, or of a checkpoint of its run.
        overrides: options in place of the recipe's, ``[KEY, VALUE, ...]``.
        average: take the moving average of the weights.

    Returns:
        The figures of metrics.json, shares from 0 to 1; None on other processes than the main one.
        ``top1``, ``top5`` (the top C of fewer classes), ``ece`` (of those that were read) and
        ``mean_class_accuracy``; of several labels ``map``, the mean average precision, in their place.
        ``videos`` of the list and ``unread`` among them. ``gflops``, of all ``views`` of a video,
        counts a multiply-accumulate as 1, as papers do.

    Raises:
        InputError: the folder, the recipe, the list or its labels are not what is needed, or a video
            cannot be read (EVALUATION.POLICY ``fail``), or none can.
    """
    cfg = load_recipe(folder, overrides)
    model = load_classifier(folder, average)
    if not cfg.DATA.VAL:
        raise InputError("DATA.VAL: give a list or a folder of labelled videos, say DATA.VAL val.csv")
    entries = read_list(cfg.DATA.VAL, cfg.DATA.ROOT, images=cfg.DATA.NUM_FRAMES == 1)
    targets = label_targets(entries, model.classes, model.multi_label)
    dataset = evaluation_dataset(cfg, entries)
    macs = count_macs(model, torch.zeros(1, 3, cfg.DATA.NUM_FRAMES, *cfg.DATA.SIZE))
    require("matplotlib", "demo")  # told now, as is a folder that cannot be written to, and not at the end
    output.mkdir(parents=True, exist_ok=True)
    process = start_process(cfg.TRAIN.PATIENCE)
    torch.set_float32_matmul_precision("high")
    with lost_peers(process):
        model.to(process.device)
        found = classify(model, dataset, process, cfg.EVALUATION.BATCH_SIZE, cfg.DATA.WORKERS)
    if not process.is_main:
        return None
    if not found.was_read.any():
        raise InputError(f"{cfg.DATA.VAL}: none of its videos can be read: {found.faults[0]}")
    if not found.logits.isfinite().all():
        raise InputError(f"{folder}: its logits are not finite; take an earlier checkpoint")
    skip = cfg.EVALUATION.POLICY == "skip"
    counted = found.was_read if skip else torch.ones_like(found.was_read)
    by_class, figures = measure(model, found, targets, counted)

    views, unread = dataset.temporal * dataset.spatial, int((~found.was_read).sum())
    figures |= {"videos": len(entries), "unread": unread, "views": views}
    figures |= {"gflops_per_view": macs / 1e9, "gflops": views * macs / 1e9}
    probabilities = model.probabilities(found.logits)
    names = [name_prediction(model, row) for row in probabilities]
    table = output / "predictions.csv"
    write_predictions(table, entries, names, found.faults, probabilities, model.classes)
    write_classes(output / "per_class.csv", model.classes, by_class)
    write_text(output / "metrics.json", json.dumps(figures, indent=2) + "\n")
    write_tensors(output / "logits.safetensors", {"logits": found.logits, "was_read": found.was_read})
    if not model.multi_label:
        predicted = found.logits[found.was_read].argmax(1)
        matrix = confusion_matrix(predicted, targets[found.was_read], len(model.classes))
        draw_confusion(output / "confusion.png", matrix, model.classes)
    if output.resolve() == (folder / "evaluation").resolve():  # where the card takes its figures from
        write_card(folder)
    if unread:
        treated = "left out" if skip else "counted as wrong"
        print(
            f"{unread} of {len(entries)} videos could not be read and are {treated}; {table} says why",
            file=sys.stderr,
        )
    return figures


def measure(
    model: Classifier, found: Predictions, targets: Tensor, counted: Tensor
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Figures of each class and of all, over the videos that are ``counted``, bool [n].

    One that is counted and was not read is wrong whatever its label: it ranks below all others.
    """
    count = len(model.classes)
    if model.multi_label:
        scores = found.logits.masked_fill(~found.was_read[:, None], -torch.inf)[counted]
        precision = average_precision(scores, targets[counted])
        by_class = {"videos": targets[counted].sum(0), "average_precision": precision}
        return by_class, {"map": float(precision.nanmean())}
    right = hits(found.logits, targets) & found.was_read
    among = hits(found.logits, targets, min(5, count)) & found.was_read
    accuracy = class_accuracy(right[counted], targets[counted], count)
    by_class = {
        "videos": torch.bincount(targets[counted], minlength=count),
        "correct": torch.bincount(targets[right & counted], minlength=count),
        "accuracy": accuracy,
    }
    probabilities = model.probabilities(found.logits[found.was_read])
    return by_class, {
        "top1": float(right[counted].double().mean()),
        "top5": float(among[counted].double().mean()),
        "ece": calibration_error(probabilities, targets[found.was_read]),
        "mean_class_accuracy": float(accuracy.nanmean()),
    }


def name_prediction(model: Classifier, probabilities: Tensor) -> str:
    """The likeliest class of probabilities [C], or with several labels those from 0.5 on."""
    if model.multi_label:
        found = (probabilities >= POSITIVE).tolist()
        return SEPARATOR.join(name for name, is_there in zip(model.classes, found, strict=True) if is_there)
    return model.classes[int(probabilities.argmax())]


def load_recipe(folder: Path, overrides: Sequence[Any]) -> CfgNode:
    """The resolved recipe of a run, by the folder of its model or of one of its checkpoints.

    Raises:
        InputError: there is none, or an option is wrong.
    """
    path = recipe_of(folder)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the folder of a run, or copy its recipe there")
    return load_config(path, overrides)


def load_classifier(folder: Path, average: bool) -> Classifier:
    """The classifier of a folder; with ``average`` with the moving average of its weights.

    Raises:
        InputError: there is none, or no average; see also
            :func:`~diffmae_video.models.pretrained.load_model`.
    """
    model = load_model(folder)
    if not isinstance(model, Classifier):
        raise InputError(
            f"{folder}: holds a {type(model).__name__} and no classifier; fine-tune it with "
            f"tools/finetune.py --init {folder}, or measure its features with tools/probe.py"
        )
    if average:
        path = folder / file_of(EMA)
        if not path.is_file():
            raise InputError(f"{path}: no such file; a run with TRAIN.EMA, say 0.9999, writes it")
        load_weights(model, path)
    return model
