"""Measures a classifier on held-out videos during fine-tuning."""

import sys

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from diffmae_video.classification.class_metrics import accuracy, mean_average_precision
from diffmae_video.classification.classify import classify
from diffmae_video.data import ViewDataset
from diffmae_video.errors import InputError
from diffmae_video.models import Classifier
from diffmae_video.runtime.processes import Process


class RecognitionValidation:
    """The loss and the accuracy on held-out videos.

    A video that cannot be read is skipped, with a line on stderr.

    Args:
        dataset: a view of each held-out video, which skips unreadable ones.
        labels: of the videos, int64 [n], or float [n, classes] if multi-label.
        process: this process.
        batch_size: clips per forward pass.
        workers: processes that read videos.
        multi_label: whether a video may have several labels.
    """

    def __init__(
        self,
        dataset: ViewDataset,
        labels: Tensor,
        process: Process,
        *,
        batch_size: int,
        workers: int,
        multi_label: bool,
    ) -> None:
        self.dataset, self.labels, self.process = dataset, labels, process
        self.batch_size, self.workers, self.multi_label = batch_size, workers, multi_label
        self.reported: set[str] = set()  # faults that have been printed

    def measure(self, model: Classifier) -> dict[str, float]:
        """The figures of a model, the same on every process.

        Returns:
            ``loss``, without label smoothing, and ``top1`` and, with more than five classes, ``top5`` as
            shares; for multi-label models ``map``, the mean average precision, instead.

        Raises:
            InputError: none of the videos can be read.
        """
        predictions = classify(model, self.dataset, self.process, self.batch_size, self.workers)
        for fault in sorted({*predictions.faults} - {""} - self.reported) if self.process.is_main else ():
            self.reported.add(fault)
            print(f"validation continues without a video: {fault}", file=sys.stderr, flush=True)
        logits, labels = predictions.logits[predictions.was_read], self.labels[predictions.was_read]
        if not len(logits):
            raise InputError(f"DATA.VAL: none of its videos can be read: {predictions.faults[0]}")
        if self.multi_label:
            loss = F.binary_cross_entropy_with_logits(logits, labels)
            return {"loss": float(loss), "map": mean_average_precision(logits, labels)}
        figures = {"loss": float(F.cross_entropy(logits, labels)), "top1": accuracy(logits, labels, 1)}
        return figures | ({"top5": accuracy(logits, labels, 5)} if logits.shape[1] > 5 else {})

    def cost(self, figures: dict[str, float]) -> float:
        """One minus the accuracy, or minus the mean average precision."""
        return 1 - figures["map" if self.multi_label else "top1"]

    def picture(self, model: Classifier) -> np.ndarray | None:
        return None
