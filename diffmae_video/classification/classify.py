"""Runs a classifier over the videos of a list, with the same result on any number of processes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DataLoader

from diffmae_video.data import ViewDataset, Views, normalise
from diffmae_video.models import Classifier
from diffmae_video.runtime.eval_mode import evaluating
from diffmae_video.runtime.processes import Process
from diffmae_video.runtime.progress import ProgressBar
from diffmae_video.runtime.stops import shielded_batches


class Predictions(NamedTuple):
    """A classifier's output for n videos, in the order of their list."""

    logits: Tensor  # float32 [n, C], averaged over a video's views; 0 where the video could not be read
    was_read: Tensor  # bool [n]
    faults: list[str]  # why a video could not be read; empty if it was read


class VideoGroup(NamedTuple):
    """Videos that are read and classified together."""

    videos: list[int]  # their indices in the list
    counts: list[int]  # the number of views of each; 0 if it could not be read
    clips: Tensor  # uint8 [sum of counts, T, H, W, 3]
    faults: dict[int, str]  # by index, why a video could not be read


@torch.no_grad()
def classify(
    model: Classifier, dataset: ViewDataset, process: Process, batch: int, workers: int
) -> Predictions:
    """Classifies all videos of a dataset. Every process must call this, and each gets the full result.

    The list is cut into groups that hold about ``batch`` views each, independently of the number of
    processes, which take the groups in turn. The clips of a forward pass are therefore always the same,
    and so are a video's logits, bit by bit, on the same kind of device (on a CPU: with the same number of
    threads).

    Args:
        model: on the process's device. It is switched to evaluation mode and back.
        batch: maximum clips per forward pass, which bounds memory. Other views wait as uint8.
        workers: processes that read ahead, at most; 0 reads in this process.

    Raises:
        VideoError: a video cannot be read, and the dataset's policy is ``fail``.
    """
    device, count = process.device, len(dataset)
    views = dataset.temporal * dataset.spatial or batch  # 0: as many views as cover a video
    size = max(1, batch // views)
    groups = [list(range(start, min(start + size, count))) for start in range(0, count, size)]
    own_groups = groups[process.rank :: process.world]
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_sampler=own_groups,
        num_workers=min(workers, len(own_groups)),
        collate_fn=_group,
        pin_memory=device.type == "cuda",
    )
    logits = torch.zeros(count, len(model.classes), device=device)
    was_read = torch.zeros(count, device=device)
    faults: dict[int, str] = {}
    with (
        evaluating(model),
        ProgressBar(
            total=sum(map(len, own_groups)),
            desc="classifying",
            unit=" videos",
            disable=not process.is_main,
        ) as bar,
        shielded_batches(loader) as batches,
    ):
        for videos, counts, clips, group_faults in batches:
            parts = [
                model(normalise(part.to(device, non_blocking=True), model.mean, model.std)).float()
                for part in clips.split(batch)
                if len(part)
            ]
            if parts:
                for video, view_logits in zip(videos, torch.cat(parts).split(counts), strict=True):
                    if len(view_logits):
                        logits[video], was_read[video] = view_logits.mean(0), 1
            faults |= group_faults
            bar.update(len(videos))
    dataset.decoder.stop()
    if process.world > 1:
        for table in (logits, was_read):  # each row is 0 on all processes but one
            dist.all_reduce(table)
        gathered: list[dict[int, str]] = [{}] * process.world
        dist.all_gather_object(gathered, faults)
        faults = {video: fault for part in gathered for video, fault in part.items()}
    return Predictions(logits.cpu(), was_read.bool().cpu(), [faults.get(i, "") for i in range(count)])


def _group(views: Sequence[Views]) -> VideoGroup:
    return VideoGroup(
        [x.video for x in views],
        [len(x.clips) for x in views],
        torch.cat([x.clips for x in views]),
        {x.video: x.fault for x in views if x.fault},
    )
