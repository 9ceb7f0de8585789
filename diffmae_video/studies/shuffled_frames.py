"""Does a classifier read motion? Its accuracy with frames in order, shuffled, and with one frame repeated."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from diffmae_video import load_config
from diffmae_video.classification.class_metrics import accuracy
from diffmae_video.classification.classify import classify
from diffmae_video.data import ClipSampler, ViewDataset, Views, label_targets, read_list
from diffmae_video.models import load_model
from diffmae_video.randomness import random_state
from diffmae_video.runtime.cpus import resolve_workers
from diffmae_video.runtime.processes import start_process

# Classes of datasets/moving_actions.py that do not depend on the order of frames: standing still, and an
# independent jerk in each frame.
ORDERLESS_CLASSES = ("shake", "still")


class ReorderedViews(ViewDataset):
    """Views whose frames are reordered.

    Args:
        orders: for each video, the frame to put at each of the T places.
        arguments, named: see :class:`~diffmae_video.data.views.ViewDataset`.
    """

    def __init__(self, orders: Sequence[Sequence[int]], *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.orders = orders

    def __getitem__(self, index: int) -> Views:
        views = super().__getitem__(index)
        return views._replace(clips=views.clips[:, list(self.orders[index])])


def accuracy_by_frame_order(folder: Path) -> dict[str, float]:
    """Top-1 of a fine-tuning run on its validation clips.

    A classifier that reads motion falls to chance without the order of frames.

    Returns:
        Shares: ``as_it_is``, ``shuffled``, ``one_frame_repeated``, and ``shuffled_ordered``, which is
        ``shuffled`` without the classes of ``ORDERLESS_CLASSES``.
    """
    cfg = load_config(folder / "config.yaml")
    entries = read_list(cfg.DATA.VAL)
    model, process = load_model(folder), start_process()
    labels = label_targets(entries, model.classes)
    frames = cfg.DATA.NUM_FRAMES
    orders: dict[str, list[Sequence[int]]] = {
        "as_it_is": [list(range(frames))] * len(entries),
        "shuffled": [
            torch.randperm(frames, generator=random_state(0, i)).tolist() for i in range(len(entries))
        ],
        "one_frame_repeated": [[frames // 2] * frames] * len(entries),
    }
    top1 = {}
    for name, order in orders.items():
        sampler = ClipSampler(frames, cfg.DATA.STRIDE, cfg.DATA.FPS)
        dataset = ReorderedViews(
            order,
            entries,
            sampler,
            cfg.DATA.SIZE,
            temporal=1,
            spatial=1,
            policy="fail",
            backend=cfg.DATA.BACKEND,
            short_side=cfg.DATA.SHORT_SIDE,
            timeout=cfg.DATA.TIMEOUT,
        )
        workers = resolve_workers(cfg.DATA.WORKERS, process.device)
        logits = classify(model, dataset, process, cfg.EVALUATION.BATCH_SIZE, workers).logits
        top1[name] = accuracy(logits, labels, 1)
        if name == "shuffled":
            ordered = torch.tensor([entry.label not in ORDERLESS_CLASSES for entry in entries])
            top1["shuffled_ordered"] = accuracy(logits[ordered], labels[ordered], 1)
    return top1
