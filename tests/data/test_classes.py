"""Class names, their order, and targets."""

import pytest

from diffmae_video import InputError
from diffmae_video.data import Entry, class_indices, class_names, label_targets


def test_classes_are_in_numeric_order_only_if_all_are_numbers():
    def labelled(*labels):
        return [Entry("a.mp4", label=label) for label in labels]

    assert class_names(labelled("10", "9", "100", "9")) == ["9", "10", "100"]
    assert class_names(labelled("10", "9", "x")) == ["10", "9", "x"]
    assert class_indices(labelled("9", "10"), ["9", "10", "100"]) == [0, 1]
    with pytest.raises(InputError, match=r"a\.mp4: its label '7' is not one of the 2 classes"):
        class_indices(labelled("7"), ["9", "10"])
    for function in (class_names, lambda entries: class_indices(entries, ["x"])):
        with pytest.raises(InputError, match=r"b\.mp4: has no label"):
            function([Entry("a.mp4", label="x"), Entry("b.mp4")])


def test_a_video_can_have_several_labels():
    entries = [Entry("a.mp4", label="run; jump"), Entry("b.mp4", label="swim"), Entry("c.mp4", label="jump")]
    names = class_names(entries, multi_label=True)
    assert class_names([Entry("d.mp4", label="run;")], multi_label=True) == ["run"]
    assert names == ["jump", "run", "swim"]
    assert label_targets(entries, names, multi_label=True).tolist() == [[1, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert label_targets(entries, class_names(entries)).tolist() == [1, 2, 0]
    with pytest.raises(InputError, match=r"a.mp4: its label 'run' is not one of the 1 classes"):
        label_targets(entries, ["jump"], multi_label=True)
