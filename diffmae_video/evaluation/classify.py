"""The logits of each video of a list, exact on any number of processes, and figures of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DataLoader

from diffmae_video.data import ViewDataset, Views, normalise
from diffmae_video.models import Classifier
from diffmae_video.runtime.evaluating import evaluating
from diffmae_video.runtime.processes import Process
from diffmae_video.runtime.progress import ProgressBar
from diffmae_video.runtime.stops import shielded_batches


class Predictions(NamedTuple):
    """What a classifier makes of n videos, in the order of their list.

    Attributes:
        logits: float32 [n, C], the mean of those of the views; 0 where none could be read.
        was_read: bool [n].
        faults: why a video could not be read; empty where it was.
    """

    logits: Tensor
    was_read: Tensor
    faults: list[str]


class Group(NamedTuple):
    """A few videos that are read and classified together.

    Attributes:
        videos: their places in the list.
        counts: views of each; 0 where it could not be read.
        clips: uint8 [sum of counts, T, H, W, 3].
        faults: by place, of those that could not be read.
    """

    videos: list[int]
    counts: list[int]
    clips: Tensor
    faults: dict[int, str]


@torch.no_grad()
def classify(
    model: Classifier, dataset: ViewDataset, process: Process, batch: int, workers: int
) -> Predictions:
    """The logits of all videos of a dataset; every process must call this, and gets all of them.

    The list is cut into groups of as many videos as have ``batch`` views, or of one, whatever the number
    of processes, which take them in turn. So what goes through the model together is always the same, and
    a video's logits are too, bit by bit, on equal devices (on a CPU: with equal threads). What the
    model takes in memory is up to ``batch``; a video's views wait as bytes.

    Args:
        model: on the process's device; it is put into evaluation mode, and back into its own.
        batch: clips per forward, at most.
        workers: processes that read ahead; 0 reads in this one.

    Raises:
        VideoError: a video cannot be read, and the dataset's policy is ``fail``.
    """
    device, count = process.device, len(dataset)
    views = dataset.temporal * dataset.spatial or batch  # 0: as many as cover a video
    size = max(1, batch // views)
    places = [list(range(start, min(start + size, count))) for start in range(0, count, size)]
    mine = places[process.rank :: process.world]
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_sampler=mine,
        num_workers=workers,
        collate_fn=_group,
        pin_memory=device.type == "cuda",
    )
    logits = torch.zeros(count, len(model.classes), device=device)
    was_read = torch.zeros(count, device=device)
    faults: dict[int, str] = {}
    with (
        evaluating(model),
        ProgressBar(
            total=sum(map(len, mine)), desc="classifying", unit=" videos", disable=not process.is_main
        ) as bar,
        shielded_batches(loader) as groups,
    ):
        for videos, counts, clips, reasons in groups:
            parts = [
                model(normalise(part.to(device, non_blocking=True), model.mean, model.std)).float()
                for part in clips.split(batch)
                if len(part)
            ]
            if parts:
                for video, part in zip(videos, torch.cat(parts).split(counts), strict=True):
                    if len(part):
                        logits[video], was_read[video] = part.mean(0), 1
            faults |= reasons
            bar.update(len(videos))
    dataset.decoder.stop()
    if process.world > 1:
        for table in (logits, was_read):  # each row is 0 on all processes but one
            dist.all_reduce(table)
        gathered: list[dict[int, str]] = [{}] * process.world
        dist.all_gather_object(gathered, faults)
        faults = {video: reason for part in gathered for video, reason in part.items()}
    return Predictions(logits.cpu(), was_read.bool().cpu(), [faults.get(i, "") for i in range(count)])


def _group(views: Sequence[Views]) -> Group:
    """Joins the views of several videos."""
    return Group(
        [x.video for x in views],
        [len(x.clips) for x in views],
        torch.cat([x.clips for x in views]),
        {x.video: x.fault for x in views if x.fault},
    )


def hits(logits: Tensor, labels: Tensor, k: int = 1) -> Tensor:
    """Which rows of logits [n, C] have their label, int64 [n], among the k highest: bool [n]."""
    return (logits.topk(k, dim=1).indices == labels[:, None]).any(1)


def accuracy(logits: Tensor, labels: Tensor, k: int = 1) -> float:
    """The share of :func:`hits`."""
    return float(hits(logits, labels, k).double().mean())


def class_accuracy(correct: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The share of each class's videos that are ``correct``, bool [n]: float64 [C]; NaN of no videos."""
    right = torch.bincount(labels, weights=correct.double(), minlength=classes)
    return right / torch.bincount(labels, minlength=classes)


def confusion_matrix(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """How many videos of each class (row) were taken for each class (column): int64 [C, C]."""
    return torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Expected calibration error (Guo et al. 2017): how far a prediction's probability is off its accuracy.

    Predictions are sorted by the probability of their class into ``bins`` ranges of equal width; the
    error is the mean over predictions of |accuracy - mean probability| of their range.

    Args:
        probabilities: [n, C], of rows that sum to 1.
        labels: int64 [n].
    """
    confidence, predicted = probabilities.double().max(1)
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gap = (predicted == labels).double() - confidence
    return float(torch.bincount(place, weights=gap, minlength=bins).abs().sum() / len(labels))


def average_precision(scores: Tensor, targets: Tensor) -> Tensor:
    """Area under precision over recall of each class, as a step function: float64 [C].

    Equal scores count as one threshold (scikit-learn's ``average_precision_score``). NaN where a class
    has no video.

    Args:
        scores: [n, C], any that rise with the probability.
        targets: [n, C], 1 where a video is of a class and else 0.
    """
    result = []
    for score, is_of_class in zip(scores.T.contiguous(), targets.T.bool(), strict=True):
        own = score[is_of_class]
        found, taken = (len(x) - torch.searchsorted(x.sort().values, own) for x in (own, score))
        result.append((found.double() / taken).mean())
    return torch.stack(result)


def mean_average_precision(scores: Tensor, targets: Tensor) -> float:
    """The mean of :func:`average_precision` over the classes that have a video."""
    return float(average_precision(scores, targets).nanmean())
