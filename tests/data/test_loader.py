"""The order of samples: the same for any number of workers and ranks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffmae_video.data import Entry, training_loader
from diffmae_video.data.loader import EpochSampler
from tests.data.small_datasets import clip_dataset


@pytest.fixture
def entries(real_clips):
    return [Entry(str(real_clips["bikes"]), 0, 8.0), Entry(str(real_clips["carphone_pristine"]))]


def test_order_is_the_same_for_any_workers_and_ranks(entries):
    def batches(workers, world, count):
        loaders = [
            iter(training_loader(clip_dataset(entries * 3), 1, workers, rank, world)) for rank in range(world)
        ]
        return [next(loader).clips for _ in range(count) for loader in loaders]

    expected = batches(0, 1, 8)
    for workers, world in ((1, 1), (3, 1), (2, 2)):
        got = batches(workers, world, 8 // world)
        assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True)), (workers, world)
    resumed = iter(training_loader(clip_dataset(entries * 3), 1, 1, start=5))
    assert all(torch.equal(next(resumed).clips, clips) for clips in expected[5:])


def test_a_batch_carries_the_keys_of_its_samples(entries):
    sampler = EpochSampler(2, clip_dataset(entries).seed, rank=1, world=2, start=4, per_step=6)
    keys = [key for key, _ in zip(sampler, range(3), strict=False)]
    assert [key.position for key in keys] == [5, 7, 9]
    assert [key.step_start for key in keys] == [4, 4, 4]
    batch = next(iter(training_loader(clip_dataset(entries), 3, 1, rank=1, world=2, start=4)))
    assert batch.samples == tuple(keys)


@settings(max_examples=30)
@given(st.integers(1, 20), st.integers(1, 4), st.integers(0, 50))
def test_each_epoch_reads_each_sample_once(count, world, seed):
    streams = [iter(EpochSampler(count, seed, rank, world)) for rank in range(world)]
    stream = [next(s) for _ in range(3 * count) for s in streams]
    assert [key.position for key in stream] == list(range(len(stream)))
    for epoch in range(3):
        assert sorted(key.row for key in stream if key.epoch == epoch) == list(range(count))
