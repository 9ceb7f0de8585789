"""Holds out part of a labelled list for validation when no validation list is given."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from diffmae_video.data.classes import class_names
from diffmae_video.data.lists import Entry


def hold_out(
    entries: Sequence[Entry], share: float, multi_label: bool = False
) -> tuple[list[Entry], list[Entry]]:
    """Splits a list into training and validation entries, both in the list's order.

    About ``share`` of each class's videos are held out: at least one if the class has two or more, and
    never all of them. The choice depends on a hash of the file names (our choice), so it needs no seed,
    and most videos keep their side when the list grows. All stretches of a video stay together.

    Args:
        multi_label: videos have several labels; the list is then split as a whole, not by class.

    Raises:
        InputError: an entry has no label.
    """
    paths_of: dict[str | None, set[str]] = defaultdict(set)
    labels_of: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        paths_of[None if multi_label else entry.label].add(entry.path)
        labels_of[entry.path].update(class_names([entry], multi_label))
    training_count = Counter(label for labels in labels_of.values() for label in labels)
    held_out: set[str] = set()
    for paths in paths_of.values():
        by_hash = sorted(paths, key=lambda path: (hashlib.sha256(Path(path).name.encode()).digest(), path))
        missing = min(len(by_hash) - 1, max(1, round(share * len(by_hash))))
        missing -= len(held_out & paths)  # already held out for another class
        for path in by_hash:
            keeps_classes = all(training_count[label] > 1 for label in labels_of[path])
            if missing > 0 and path not in held_out and keeps_classes:
                held_out.add(path)
                training_count.subtract(labels_of[path])
                missing -= 1
    train = [entry for entry in entries if entry.path not in held_out]
    return train, [entry for entry in entries if entry.path in held_out]
