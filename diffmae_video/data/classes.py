"""Class names of labelled lists, and the targets of a classifier."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from diffmae_video.data.lists import Entry
from diffmae_video.errors import InputError

SEPARATOR = ";"  # between the labels of a multi-label video


def class_names(entries: Iterable[Entry], multi_label: bool = False) -> list[str]:
    """The distinct labels of a list, sorted; numerically if all of them are whole numbers.

    Args:
        multi_label: labels such as ``run;jump`` stand for several classes.

    Raises:
        InputError: an entry has no label.
    """
    names = {name for entry in entries for name in _labels(entry, multi_label)}
    if all(name.isdecimal() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def class_indices(entries: Iterable[Entry], names: Sequence[str]) -> list[int]:
    """The index of each entry's label in ``names``.

    Raises:
        InputError: an entry has no label, or its label is not in ``names``.
    """
    return [indices[0] for indices in _indices(entries, names, multi_label=False)]


def label_targets(entries: Iterable[Entry], names: Sequence[str], multi_label: bool = False) -> Tensor:
    """Training targets: int64 [n] class indices, or float [n, classes] of zeros and ones if multi-label.

    Errors are those of :func:`class_indices`.
    """
    indices = _indices(entries, names, multi_label)
    if not multi_label:
        return torch.tensor([labels[0] for labels in indices])
    targets = torch.zeros(len(indices), len(names))
    for row, labels in zip(targets, indices, strict=True):
        row[labels] = 1
    return targets


def _indices(entries: Iterable[Entry], names: Sequence[str], multi_label: bool) -> list[list[int]]:
    index = {name: i for i, name in enumerate(names)}
    indices = []
    for entry in entries:
        labels = _labels(entry, multi_label)
        for label in labels:
            if label not in index:
                raise InputError(
                    f"{entry.path}: its label {label!r} is not one of the {len(index)} classes of training"
                )
        indices.append([index[label] for label in labels])
    return indices


def _labels(entry: Entry, multi_label: bool) -> list[str]:
    if entry.label is None:
        raise InputError(
            f"{entry.path}: has no label; a labelled list has lines 'path label' or columns path,label"
        )
    if not multi_label:
        return [entry.label]
    parts = (part.strip() for part in entry.label.split(SEPARATOR))
    return [part for part in parts if part]  # "run;" is one label
