"""Measures a model on held-out clips during pre-training: comparable losses, a probe, and a picture."""

import itertools
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from diffmae_video.classification.neighbours import NEIGHBOURS, knn_accuracy
from diffmae_video.data import Entry, VideoError, ViewDataset, denormalise, normalise, spread
from diffmae_video.encoding.clips import panels
from diffmae_video.errors import InputError
from diffmae_video.inpainting.simple_fills import grey_fill
from diffmae_video.masks import Mask
from diffmae_video.models import PretrainingModel
from diffmae_video.randomness import random_state
from diffmae_video.runtime.eval_mode import evaluating
from diffmae_video.runtime.processes import Process
from diffmae_video.tokens import grid_of

RANGES = 10  # of timesteps, each with a loss of its own
MAX_PER_VIDEO = 8  # clips of a video, where there are few videos
PANEL_HEIGHT = 224
SAMPLING_STEPS = 50


class PretrainingValidation:
    """Held-out clips, and what a model makes of them: the same task at each call and in each run.

    Masks, timesteps and noise depend only on a clip's place in the data set, not on TRAIN.SEED. The processes
    share the clips, and each keeps its part in memory. All processes must build this and call
    :meth:`measure`. A video that cannot be read is left out, with a line on stderr.

    Args:
        dataset: views of the held-out videos. If all entries have labels, there is a probe.
        process: this process.
        batch_size: clips per forward pass.
        mask: ``kind`` and ``ratio`` of the masks.
        num_pictures: how many of the clips :meth:`picture` shows.

    Raises:
        InputError: none of the videos can be read.
    """

    def __init__(
        self,
        dataset: ViewDataset,
        process: Process,
        *,
        batch_size: int,
        mask: Mapping[str, Any],
        num_pictures: int,
    ) -> None:
        self.process, self.batch_size, self.mask = process, batch_size, mask
        entries, per_video = dataset.entries, dataset.temporal
        self.count = len(entries) * per_video
        rows: list[int] = []  # of this process's clips, among all
        clips = []
        for i in range(process.rank, len(entries), process.world):
            try:
                clips.append(dataset[i].clips)
                rows += range(i * per_video, (i + 1) * per_video)
            except VideoError as error:
                print(f"validation continues without a video: {error}", file=sys.stderr)
        self.rows = torch.tensor(rows, dtype=torch.int64)
        self.clips = torch.cat(clips) if clips else torch.empty(0, dtype=torch.uint8)
        was_read = torch.zeros(self.count, device=process.device)
        was_read[self.rows] = 1
        self.was_read = self._sum(was_read).bool().cpu()
        if not self.was_read.any():
            raise InputError("DATA.VAL: none of its videos can be read, see above")

        paths = [entry.path for entry in entries]
        self.videos = torch.tensor([paths.index(path) for path in paths]).repeat_interleave(per_video)
        self.labels = None
        labels = [entry.label for entry in entries]
        if None not in labels and len(self.videos[self.was_read].unique()) > 1:
            names = sorted({str(label) for label in labels})
            self.labels = torch.tensor([names.index(str(x)) for x in labels]).repeat_interleave(per_video)

        pictured = spread(self.was_read.nonzero().flatten().tolist(), num_pictures)
        self.pictured_rows = torch.tensor(pictured if process.is_main else [], dtype=torch.int64)
        self.pictured_clips = [
            dataset[row // per_video].clips[row % per_video] for row in self.pictured_rows.tolist()
        ]
        dataset.decoder.stop()

    @torch.no_grad()
    def measure(self, model: PretrainingModel) -> dict[str, float]:
        """The figures of a model, the same on every process.

        Returns:
            ``loss``: the mean over clips and, for objectives with timesteps, over these. ``loss_t0`` to
            ``loss_t9``, for those: by tenths of the timesteps, with t = 1 in the first. ``knn``, if there
            are labels: the share of clips that the clips of other videos label correctly, see
            :func:`~diffmae_video.classification.neighbours.knn_accuracy`.
        """
        device = self.process.device
        ranges = [None] if model.timesteps is None else timestep_ranges(model.timesteps)
        losses = torch.zeros(self.count, len(ranges), device=device)
        features = torch.zeros(self.count, model.encoder.width, device=device)
        with evaluating(model):
            for start in range(0, len(self.rows), self.batch_size):
                rows = self.rows[start : start + self.batch_size]
                clip, mask, states = self._task(model, self.clips[start : start + self.batch_size], rows)
                noise, shape = None, model.noise_shape(clip, mask)
                if shape is not None:
                    noise = torch.stack([torch.randn(shape, generator=s) for s in states]).to(device)
                for i, part in enumerate(ranges):
                    t = None if part is None else spread_timesteps(rows, part).to(device)
                    # The batch's mean stands in for each of its clips, which leaves the sums right.
                    losses[rows, i] = model(clip, mask=mask, t=t, noise=noise).loss.float()
                if self.labels is not None:
                    features[rows] = model.encode(clip).mean(1).float()
        losses = self._sum(losses)[self.was_read]
        figures = {"loss": float(losses.mean())}
        if model.timesteps is not None:
            figures |= {f"loss_t{i}": float(x) for i, x in enumerate(losses.mean(0))}
        if self.labels is not None:
            features = self._sum(features)[self.was_read].cpu()
            labels, videos = self.labels[self.was_read], self.videos[self.was_read]
            same = videos[:, None] == videos[None]
            figures["knn"] = knn_accuracy(features, labels, features, labels, excluded=same)
        return figures

    def cost(self, figures: dict[str, float]) -> float:
        return figures["loss"]

    @torch.no_grad()
    def picture(self, model: PretrainingModel) -> np.ndarray | None:
        """Truth | masked input | what the model makes of it, of a few clips: uint8 [h, w, 3].

        A clip is a row, and its middle frame is shown; the columns are the model's ``previews``.

        Returns:
            None on every process but the main one, and for a model without previews.
        """
        if not self.pictured_clips:
            return None
        clip, mask, _ = self._task(model, torch.stack(self.pictured_clips), self.pictured_rows)
        with evaluating(model):
            columns = model.previews(clip, mask, min(SAMPLING_STEPS, model.timesteps or 1))
        if not columns:
            return None
        truth = denormalise(clip, model.mean, model.std)
        hidden = grey_fill(truth, mask.to_pixels(model.patch))
        pictures = [truth, hidden, *(denormalise(x, model.mean, model.std) for x in columns.values())]
        titles = ["truth", "masked", *columns]
        middle = clip.shape[2] // 2
        rows = [
            panels([x[i, :, middle : middle + 1].float().cpu() for x in pictures], titles, PANEL_HEIGHT)[0]
            for i in range(len(clip))
        ]
        return np.concatenate(rows)

    def _task(
        self, model: PretrainingModel, clips: Tensor, rows: Tensor
    ) -> tuple[Tensor, Mask, list[torch.Generator]]:
        """Normalised clips with the masks of their rows, on the device, and generators for their noise."""
        device = self.process.device
        clip = normalise(clips.to(device), model.mean, model.std)
        states = [random_state(int(row)) for row in rows]
        grid = grid_of((clip.shape[2], clip.shape[3], clip.shape[4]), model.patch)
        mask = Mask.cat([Mask.draw(batch=1, grid=grid, generator=s, **self.mask) for s in states])
        return clip, mask.to(device), states

    def _sum(self, table: Tensor) -> Tensor:
        """Joins a table of which each process has filled its own rows."""
        if self.process.world > 1:
            dist.all_reduce(table)
        return table


def choose_entries(entries: Sequence[Entry], count: int) -> list[Entry]:
    """At most ``count`` entries, spread evenly over the list.

    If all entries have labels, whole classes are chosen, in a fixed random order, each with enough videos for
    the probe's neighbours to be of one class: 256 clips of Kinetics-400 are 12 whole classes instead of 0.64
    clips of each (our choice).
    """
    by_label: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.label is None:
            return spread(entries, count)
        by_label[entry.label].append(entry)
    each = max(NEIGHBOURS + 1, count // len(by_label))
    names = sorted(by_label)
    chosen: list[Entry] = []
    for i in torch.randperm(len(names), generator=random_state(0)).tolist():
        chosen += spread(by_label[names[i]], min(each, count - len(chosen)))
    return chosen


def timestep_ranges(timesteps: int) -> list[range]:
    """The timesteps 1..T cut into ten even ranges, or into T ranges if T is below ten."""
    count = min(RANGES, timesteps)
    edges = [1 + round(i * timesteps / count) for i in range(count + 1)]
    return [range(low, high) for low, high in itertools.pairwise(edges)]


def spread_timesteps(rows: Tensor, within: range) -> Tensor:
    """A timestep for each row, int64: multiples of the golden ratio cover the range evenly."""
    share = (rows.double() + 0.5) * ((5**0.5 - 1) / 2) % 1
    return within.start + (share * len(within)).long()
