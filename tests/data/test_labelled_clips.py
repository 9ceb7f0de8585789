"""Clips of fine-tuning: every repeat keeps the label of the video that was read."""

import pytest
import torch

from diffmae_video.data import (
    Entry,
    class_names,
    label_targets,
    training_loader,
)
from diffmae_video.data.random_clips import SampleKey
from tests.data.small_datasets import labelled_dataset


@pytest.fixture
def entries(real_clips):
    return [Entry(str(path), label=name) for name, path in sorted(real_clips.items())]


def dataset(entries):
    return labelled_dataset(entries, label_targets(entries, class_names(entries)))


def test_a_batch_holds_every_repeat_with_its_label(entries):
    batches = {w: next(iter(training_loader(dataset(entries), 3, workers=w))) for w in (0, 2)}
    for batch in batches.values():
        assert batch.clips.shape == (6, 4, 32, 32, 3)
        assert batch.clips.dtype == torch.uint8
        assert sorted(batch.labels[:3].tolist()) == [0, 1, 2]  # so mixup, of neighbours, mixes two videos
        assert torch.equal(batch.labels[:3], batch.labels[3:])
        assert not torch.equal(batch.clips[0], batch.clips[3])
    assert torch.equal(batches[0].clips, batches[2].clips)


def test_labels_are_of_the_video_that_was_read(entries, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    mixed = [Entry(str(broken), label="broken"), entries[0]]
    for epoch in range(4):
        sample = dataset(mixed)[SampleKey(epoch, epoch, 0)]
        assert sample.labels.tolist() == [class_names(mixed).index(str(entries[0].label))] * 2
        assert {fault.path for fault in sample.faults} == {str(broken)}
