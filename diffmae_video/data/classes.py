"""Class names of labelled lists, and class indices by them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from diffmae_video.data.lists import Entry
from diffmae_video.errors import InputError

SEPARATOR = ";"  # between the labels of a video that has several


def class_names(entries: Iterable[Entry], multi_label: bool = False) -> list[str]:
    """The labels of a list, each once: sorted, by number if all are whole numbers.

    Args:
        multi_label: a label is several, with ``;`` between them.

    Raises:
        InputError: an entry has no label.
    """
    names = {name for entry in entries for name in _labels(entry, multi_label)}
    if all(name.isdecimal() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def class_indices(entries: Iterable[Entry], names: Sequence[str]) -> list[int]:
    """The place of each entry's label in ``names``.

    Raises:
        InputError: an entry has no label, or one that is not among them.
    """
    return [places[0] for places in _places(entries, names, multi_label=False)]


def label_targets(entries: Iterable[Entry], names: Sequence[str], multi_label: bool = False) -> Tensor:
    """What a classifier of ``names`` is to say of each entry: int64 [n], multi-label float [n, classes].

    Raises:
        InputError: see :func:`class_indices`.
    """
    places = _places(entries, names, multi_label)
    if not multi_label:
        return torch.tensor([place[0] for place in places])
    targets = torch.zeros(len(places), len(names))
    for row, place in zip(targets, places, strict=True):
        row[place] = 1
    return targets


def _places(entries: Iterable[Entry], names: Sequence[str], multi_label: bool) -> list[list[int]]:
    index = {name: i for i, name in enumerate(names)}
    places = []
    for entry in entries:
        labels = _labels(entry, multi_label)
        for label in labels:
            if label not in index:
                raise InputError(
                    f"{entry.path}: its label {label!r} is none of the {len(index)} classes of training"
                )
        places.append([index[label] for label in labels])
    return places


def _labels(entry: Entry, multi_label: bool) -> list[str]:
    if entry.label is None:
        raise InputError(
            f"{entry.path}: has no label; a list of classes has lines 'path label' or columns path,label"
        )
    if not multi_label:
        return [entry.label]
    parts = (part.strip() for part in entry.label.split(SEPARATOR))
    return [part for part in parts if part]  # "run;" is one label
