"""The order of training samples, and the loader that reads them ahead."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, Sampler

from diffmae_video.data.random_clips import RandomClips, Sample
from diffmae_video.randomness import random_state


class EpochSampler(Sampler[tuple[int, int]]):
    """An endless stream of (epoch, index): each epoch a permutation of its own.

    Place ``g`` of the stream goes to rank ``g % world``. Batches run over the ends of epochs, so
    that every sample of every epoch is read, by any number of ranks.

    Args:
        count: samples of an epoch.
        seed: of the permutations.
        rank, world: of this process.
        start: places of the whole stream that are done already; a multiple of ``world``.
    """

    def __init__(self, count: int, seed: int, rank: int = 0, world: int = 1, start: int = 0) -> None:
        self.count, self.seed, self.rank, self.world, self.start = count, seed, rank, world, start

    def __iter__(self) -> Iterator[tuple[int, int]]:
        place, drawn, order = self.start + self.rank, -1, []
        while True:
            epoch = place // self.count
            if epoch != drawn:
                order = torch.randperm(self.count, generator=random_state(self.seed, epoch)).tolist()
                drawn = epoch
            yield epoch, order[place % self.count]
            place += self.world


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)  # a worker is one core


def training_loader(
    dataset: RandomClips[Sample],
    batch_size: int,
    workers: int,
    rank: int = 0,
    world: int = 1,
    start: int = 0,
) -> DataLoader[Sample]:
    """An endless loader of batches.

    Args:
        batch_size: videos per process and batch; each gives ``dataset.repeats`` clips.
        workers: processes that read ahead; 0 reads in this one.
        start: samples of the whole stream that are done already.
    """
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=EpochSampler(len(dataset), dataset.seed, rank, world, start),
        num_workers=workers,
        collate_fn=dataset.collate,
        worker_init_fn=_one_thread,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
        prefetch_factor=2 if workers else None,
    )
