"""Holding out part of a list: a share of each class, the same on each machine."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from diffmae_video.data import Entry, class_names
from diffmae_video.data.hold_out import hold_out


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
