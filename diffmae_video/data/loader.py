"""The order of training samples, and the loader that prefetches them."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Sampler

from diffmae_video.data.random_clips import SampleKey
from diffmae_video.randomness import random_state


class EpochSampler(Sampler[SampleKey]):
    """An endless stream of samples in which each epoch is a new permutation.

    Position ``p`` of the stream belongs to rank ``p % world``. Batches may span two epochs, so every
    sample of every epoch is read, with any number of ranks.

    Args:
        count: samples per epoch.
        seed: of the permutations.
        rank, world: this process's rank, and the number of processes.
        start: the stream's first position; a multiple of ``world``.
        per_step: samples of an optimizer step, over all processes.
    """

    def __init__(
        self, count: int, seed: int, rank: int = 0, world: int = 1, start: int = 0, per_step: int = 1
    ) -> None:
        self.count, self.seed, self.rank, self.world, self.start = count, seed, rank, world, start
        self.per_step = per_step

    def __iter__(self) -> Iterator[SampleKey]:
        position, drawn_epoch, order = self.start + self.rank, -1, []
        while True:
            epoch = position // self.count
            if epoch != drawn_epoch:
                order = torch.randperm(self.count, generator=random_state(self.seed, epoch)).tolist()
                drawn_epoch = epoch
            step_start = position - (position - self.start) % self.per_step
            yield SampleKey(position, epoch, order[position % self.count], step_start)
            position += self.world


class SampleStream(Protocol):
    """A data set that is indexed by :class:`SampleKey` and joins its own samples."""

    seed: int

    def __len__(self) -> int: ...
    def __getitem__(self, key: SampleKey, /) -> Any: ...
    @property
    def collate(self) -> Callable[[Any], Any]: ...


def _use_one_thread(_: int) -> None:
    torch.set_num_threads(1)  # each worker process has one core


def training_loader(
    dataset: SampleStream,
    batch_size: int,
    workers: int,
    rank: int = 0,
    world: int = 1,
    start: int = 0,
    accumulation: int = 1,
) -> DataLoader[Any]:
    """An endless loader of batches.

    Args:
        batch_size: videos per process and batch; each gives ``dataset.repeats`` clips.
        workers: number of prefetching processes; 0 reads in this process.
        rank, world, start: see :class:`EpochSampler`.
        accumulation: batches of an optimizer step.
    """
    per_step = batch_size * accumulation * world
    return DataLoader(
        dataset,  # type: ignore[arg-type] # a map by key, as DataLoader's own sampler allows
        batch_size=batch_size,
        sampler=EpochSampler(len(dataset), dataset.seed, rank, world, start, per_step),
        num_workers=workers,
        collate_fn=dataset.collate,
        worker_init_fn=_use_one_thread,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
        prefetch_factor=2 if workers else None,
    )
