"""A part of a labelled list that is kept for validation, where no list of its own is given."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from diffmae_video.data.classes import class_names
from diffmae_video.data.lists import Entry


def hold_out(
    entries: Sequence[Entry], share: float, multi_label: bool = False
) -> tuple[list[Entry], list[Entry]]:
    """Splits a list into training and validation, in the list's order.

    Of n videos of a class about ``share`` n are held out, one or more if there are two. Which ones goes
    by a hash of their names (our choice): it needs no seed, and a list that grows keeps most of them
    where they are. All stretches of a video stay together, and every class keeps a video to train on.

    Args:
        multi_label: videos have several labels, and the list is split as a whole.

    Raises:
        InputError: an entry has no label.
    """
    groups: dict[str | None, set[str]] = defaultdict(set)
    labels: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        groups[None if multi_label else entry.label].add(entry.path)
        labels[entry.path].update(class_names([entry], multi_label))
    left = Counter(name for names in labels.values() for name in names)  # videos to train on
    kept: set[str] = set()
    for paths in groups.values():
        ordered = sorted(paths, key=lambda path: (hashlib.sha256(Path(path).name.encode()).digest(), path))
        wanted = min(len(ordered) - 1, max(1, round(share * len(ordered))))
        wanted -= len(kept & paths)  # by stretches of another class
        for path in ordered:
            if wanted > 0 and path not in kept and all(left[name] > 1 for name in labels[path]):
                kept.add(path)
                left.subtract(labels[path])
                wanted -= 1
    train = [entry for entry in entries if entry.path not in kept]
    return train, [entry for entry in entries if entry.path in kept]
