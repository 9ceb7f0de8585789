"""The clips that a model sees of a longer and larger film: where they lie, and how they make batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffmae_video.masks import Mask
from diffmae_video.tokens import Triple

SHARE = 16  # of a clip's patches, that the clips of one batch may differ by in how many are hidden


class Window(NamedTuple):
    """A clip's first frame, row and column; in frames and patches."""

    frame: int
    row: int
    column: int


class WindowBatch(NamedTuple):
    """Clips that go through the model together.

    Attributes:
        places: of the B clips.
        mask: of the B clips.
    """

    places: list[Window]
    mask: Mask


def starts(length: int, window: int, step: int) -> list[int]:
    """Where windows start that cover a length: ``step`` after each other, the last one at its end."""
    last = length - window
    return [*range(0, last, step), last]


def time_step(window: int, patch: int, aligned: bool) -> int:
    """Frames from one clip to the next: at most half a clip, so that all but the film's ends lie in two.

    Args:
        window, patch: frames of a clip and of a patch.
        aligned: holes were drawn on patches, a clip's length at a time: the step is whole patches and
            divides the clip. Else it is no multiple of the patch, so that where one clip's patches meet
            the next one's do not, and averaging smooths the joint (our choice).
    """
    steps = window // patch
    if aligned or patch == 1 or steps == 1:
        return patch * max(n for n in range(1, max(1, steps // 2) + 1) if steps % n == 0 or not aligned)
    half = window // 2
    return half if half % patch else half - 1


def hat(window: int) -> Tensor:
    """Weights of a clip's frames (rows, columns), falling from its middle to its ends: [window], above 0."""
    rising = torch.arange(1, window + 1, dtype=torch.float32)
    return torch.minimum(rising, rising.flip(0)) / ((window + 1) // 2)


def make_batches(
    hidden: Tensor, places: Sequence[Window], grid: Triple, patch: int, most: int
) -> list[WindowBatch]:
    """The clips that have something to fill and something to go by, in batches of one number of patches.

    Clips that differ by at most a sixteenth of their patches share a batch; the ones with fewer hidden
    patches hide more, those farthest from the hole, whose fill is not used (our choice: any subset of the
    visible patches is what the model was trained on).

    Args:
        hidden: bool [frames, rows, columns] of the film, in patches in space and frames in time.
        places: of the clips.
        grid: of a clip, in patches.
        patch: frames of a patch.
        most: clips of a batch.
    """
    t, h, w = grid
    views = []
    for place in places:
        frames = hidden[
            place.frame : place.frame + t * patch, place.row : place.row + h, place.column : place.column + w
        ]
        view = frames.reshape(t, patch, h, w).any(1)
        if 0 < int(view.sum()) < view.numel():
            views.append((int(view.sum()), place, view))
    views.sort(key=lambda item: item[0])
    batches: list[WindowBatch] = []
    while views:
        fewest = views[0][0]
        group = [v for v in views[:most] if v[0] <= fewest + t * h * w // SHARE]
        views = views[len(group) :]
        count = group[-1][0]
        masked = torch.stack([_hide_more(view, count) for _, _, view in group])
        batches.append(WindowBatch([place for _, place, _ in group], Mask.from_bool(masked)))
    return batches


def _hide_more(view: Tensor, count: int) -> Tensor:
    """A mask bool [t, h, w] in which ``count`` patches are hidden: what is, and what is farthest from it."""
    missing = count - int(view.sum())
    if missing == 0:
        return view
    distance = torch.cdist((~view).nonzero().float(), view.nonzero().float()).amin(1)  # of visible patches
    far = distance.argsort(descending=True, stable=True)[:missing]
    more = view.clone()
    more[tuple((~view).nonzero()[far].T)] = True
    return more
