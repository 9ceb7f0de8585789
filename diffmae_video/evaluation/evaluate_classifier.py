"""Evaluates a fine-tuned classifier on a labelled list and writes figures, tables and a confusion matrix."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffmae_video.build import evaluation_dataset
from diffmae_video.classification import class_metrics
from diffmae_video.classification.classify import Predictions, classify
from diffmae_video.config import load_recipe
from diffmae_video.cost.flops import count_macs
from diffmae_video.data import label_targets, read_list
from diffmae_video.data.classes import SEPARATOR
from diffmae_video.errors import InputError, require
from diffmae_video.evaluation.classifier_report import draw_confusion, write_classes, write_predictions
from diffmae_video.files import write_tensors, write_text
from diffmae_video.models import Classifier, load_classifier
from diffmae_video.models.card import write_card
from diffmae_video.runtime.cpus import resolve_workers
from diffmae_video.runtime.processes import start_process
from diffmae_video.runtime.stops import lost_peers

THRESHOLD = 0.5  # with several labels, a class of this probability or more is predicted


def evaluate(
    folder: Path, overrides: Sequence[Any], output: Path, averaged: bool = False
) -> dict[str, Any] | None:
    """Classifies the videos of DATA.VAL on EVALUATION.VIEWS and writes the results to ``output``.

    The model runs in float32 (TF32 on a GPU) with its own mean and std. ``output`` gets metrics.json,
    predictions.csv, per_class.csv, logits.safetensors (in the order of the list) and, if videos have one
    label each, confusion.png.

    Args:
        folder: of a fine-tuned model, or of a checkpoint of its run.
        overrides: options that replace the run's, ``[KEY, VALUE, ...]``.
        averaged: evaluate the moving average of the weights.

    Returns:
        The contents of metrics.json; None on processes other than the main one. ``top1``, ``top5`` (top C
        with fewer classes), ``ece`` (over the videos that were read) and ``mean_class_accuracy``; with
        several labels only ``map``, the mean average precision. All of these are from 0 to 1. ``videos``
        in the list and ``unread`` among them. ``gflops`` of all ``views`` of a video and
        ``gflops_per_view``, which count a multiply-accumulate as 1, as papers do.

    Raises:
        InputError: the folder, its config, the list or its labels do not fit; a video cannot be read and
            EVALUATION.POLICY is ``fail``; or no video can be read.
    """
    cfg = load_recipe(folder, overrides)
    model = load_classifier(folder, averaged)
    if not cfg.DATA.VAL:
        raise InputError("DATA.VAL: give a list or a folder of labelled videos, say DATA.VAL val.csv")
    entries = read_list(cfg.DATA.VAL, cfg.DATA.ROOT, images=cfg.DATA.NUM_FRAMES == 1)
    targets = label_targets(entries, model.classes, model.multi_label)
    dataset = evaluation_dataset(cfg, entries)
    macs = count_macs(model, torch.zeros(1, 3, cfg.DATA.NUM_FRAMES, *cfg.DATA.SIZE))
    # A missing package and a folder that cannot be written to are reported before the work, not after it.
    require("matplotlib", "demo")
    class_metrics.torchmetrics()
    output.mkdir(parents=True, exist_ok=True)
    process = start_process(cfg.TRAIN.PATIENCE)
    torch.set_float32_matmul_precision("high")
    with lost_peers(process):
        model.to(process.device)
        workers = resolve_workers(cfg.DATA.WORKERS, process.device)
        predictions = classify(model, dataset, process, cfg.EVALUATION.BATCH_SIZE, workers)
    if not process.is_main:
        return None
    if not predictions.was_read.any():
        raise InputError(f"{cfg.DATA.VAL}: none of its videos can be read: {predictions.faults[0]}")
    if not predictions.logits.isfinite().all():
        raise InputError(f"{folder}: the model's logits are not finite; take an earlier checkpoint")
    skip = cfg.EVALUATION.POLICY == "skip"
    counted = predictions.was_read if skip else torch.ones_like(predictions.was_read)
    by_class, figures = measure(model, predictions, targets, counted)

    views, unread = dataset.temporal * dataset.spatial, int((~predictions.was_read).sum())
    figures |= {"videos": len(entries), "unread": unread, "views": views}
    figures |= {"gflops_per_view": macs / 1e9, "gflops": views * macs / 1e9}
    probabilities = model.probabilities(predictions.logits)
    names = [predicted_names(model, row) for row in probabilities]
    table = output / "predictions.csv"
    write_predictions(table, entries, names, predictions.faults, probabilities, model.classes)
    write_classes(output / "per_class.csv", model.classes, by_class)
    write_text(output / "metrics.json", json.dumps(figures, indent=2) + "\n")
    write_tensors(
        output / "logits.safetensors", {"logits": predictions.logits, "was_read": predictions.was_read}
    )
    if not model.multi_label:
        draw_confusion(output / "confusion.png", confusion_of_read(predictions, targets), model.classes)
    if output.resolve() == (folder / "evaluation").resolve():  # where the card takes its figures from
        write_card(folder)
    if unread:
        treatment = "left out" if skip else "counted as wrong"
        print(
            f"{unread} of {len(entries)} videos could not be read and are {treatment}; {table} says why",
            file=sys.stderr,
        )
    return figures


def measure(
    model: Classifier, predictions: Predictions, targets: Tensor, counted: Tensor
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Figures of each class and of all videos.

    A video that is counted although it could not be read is wrong: it ranks below all others.

    Args:
        targets: int64 [n] labels, or with several labels 0 or 1 [n, C].
        counted: bool [n], the videos that figures are about.

    Returns:
        Columns [C] of the table of classes, and the figures.
    """
    classes, was_read = len(model.classes), predictions.was_read
    if model.multi_label:
        scores = predictions.logits.masked_fill(~was_read[:, None], -torch.inf)[counted]
        precision = class_metrics.average_precision(scores, targets[counted])
        by_class = {"videos": targets[counted].sum(0), "average_precision": precision}
        return by_class, {"map": float(precision.nanmean())}
    logits, labels, total = predictions.logits[was_read], targets[was_read], int(counted.sum())
    correct = confusion_of_read(predictions, targets).diag()
    videos = torch.bincount(targets[counted], minlength=classes)
    accuracy = correct.double() / videos
    return {"videos": videos, "correct": correct, "accuracy": accuracy}, {
        "top1": int(correct.sum()) / total,
        "top5": class_metrics.count_correct(logits, labels, k=5) / total,
        "ece": class_metrics.calibration_error(model.probabilities(logits), labels),
        "mean_class_accuracy": float(accuracy.nanmean()),
    }


def confusion_of_read(predictions: Predictions, labels: Tensor) -> Tensor:
    """The confusion matrix of the videos that were read: int64 [C, C]."""
    logits = predictions.logits[predictions.was_read]
    return class_metrics.confusion_matrix(logits.argmax(1), labels[predictions.was_read], logits.shape[1])


def predicted_names(model: Classifier, probabilities: Tensor) -> str:
    """The most likely class of probabilities [C]; with several labels all classes of 0.5 or more."""
    if model.multi_label:
        predicted = (probabilities >= THRESHOLD).tolist()
        return SEPARATOR.join(name for name, yes in zip(model.classes, predicted, strict=True) if yes)
    return model.classes[int(probabilities.argmax())]
