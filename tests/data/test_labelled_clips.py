"""Labelled clips, and lists that give up a part for validation."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffmae_video import InputError
from diffmae_video.data import (
    Entry,
    class_names,
    label_targets,
    training_loader,
)
from diffmae_video.data.hold_out import hold_out
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
        sample = dataset(mixed)[epoch, 0]
        assert sample.labels.tolist() == [class_names(mixed).index(str(entries[0].label))] * 2
        assert {fault.path for fault in sample.faults} == {str(broken)}


def test_a_video_can_have_several_labels():
    entries = [Entry("a.mp4", label="run; jump"), Entry("b.mp4", label="swim"), Entry("c.mp4", label="jump")]
    names = class_names(entries, multi_label=True)
    assert class_names([Entry("d.mp4", label="run;")], multi_label=True) == ["run"]
    assert names == ["jump", "run", "swim"]
    assert label_targets(entries, names, multi_label=True).tolist() == [[1, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert label_targets(entries, class_names(entries)).tolist() == [1, 2, 0]
    with pytest.raises(InputError, match=r"a.mp4: its label 'run' is not one of the 1 classes"):
        label_targets(entries, ["jump"], multi_label=True)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from("abc")), min_size=1, max_size=80),
    st.floats(0.01, 0.99),
)
def test_a_part_of_each_class_is_held_out(videos, share):
    label_of = dict(videos)  # a video has one label, and maybe several stretches
    entries = [Entry(f"/v/{name}.mp4", start=i, label=label_of[name]) for i, (name, _) in enumerate(videos)]
    train, val = hold_out(entries, share)
    assert sorted(train + val, key=lambda e: e.start) == entries
    assert not {e.path for e in train} & {e.path for e in val}
    of_class = Counter(label_of.values())
    for label, count in of_class.items():
        held = len({e.path for e in val if e.label == label})
        assert held == min(count - 1, max(1, round(share * count)))
    moved = [Entry(e.path.replace("/v/", "/elsewhere/"), e.start, label=e.label) for e in entries]
    assert [e.start for e in hold_out(moved, share)[1]] == [e.start for e in val]


def test_a_list_can_be_held_out_as_a_whole():
    entries = [Entry(f"{i}.mp4", label=f"{i % 10};x") for i in range(20)]
    assert len(hold_out(entries, 0.1)[1]) == 10
    assert len(hold_out(entries, 0.1, multi_label=True)[1]) == 2


def test_no_class_is_held_out_whole():
    """Neither one of several labels that a single video has, nor the class of a video's other stretch."""
    rare = [Entry(f"{i}.mp4", label=f"rare{i};often" if i % 2 else "often") for i in range(40)]
    train, val = hold_out(rare, 0.4, multi_label=True)
    assert class_names(train, multi_label=True) == class_names(rare, multi_label=True)
    assert len(val) == 16
    two = [Entry(f"{i}.mp4", label="walk") for i in range(9)] + [
        Entry(f"{i}.mp4", label=f"{i}") for i in range(9)
    ]
    train, val = hold_out(two, 0.3)
    assert class_names(train) == class_names(two)
    assert val == []
