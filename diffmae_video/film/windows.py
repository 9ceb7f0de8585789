"""Windows: where the model's clips lie in a longer and larger film, and how they are batched."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffmae_video.masks import Mask
from diffmae_video.tokens import Triple

# Numbers of hidden patches are rounded up to multiples of 1/16 of a clip's patches. Windows can then share a
# batch, and shapes repeat, so that a GPU's libraries choose their kernels and allocate memory once.
SHARE = 16


class Window(NamedTuple):
    """Where a clip lies: its first frame (in frames), and its top row and left column (in patches)."""

    frame: int
    row: int
    column: int


class WindowBatch(NamedTuple):
    """B windows that go through the model together, and the mask of their clips."""

    windows: list[Window]
    mask: Mask


def starts(length: int, window: int, step: int) -> list[int]:
    """Where windows start that cover a length: every ``step``, and the last one flush with the end."""
    last = length - window
    return [*range(0, last, step), last]


def time_step(window: int, patch: int, aligned: bool) -> int:
    """Frames from one clip to the next: at most half a clip, so that clips overlap.

    Args:
        window, patch: frames of a clip and of a patch.
        aligned: whether the hole was drawn on patches, one clip's length at a time. Then the step is a whole
            number of patches and divides the clip. Otherwise the step is not a multiple of the patch, so that
            the patch borders of one clip fall inside the patches of the next and averaging smooths them (our
            choice).
    """
    steps = window // patch
    if aligned or patch == 1 or steps == 1:
        return patch * max(n for n in range(1, max(1, steps // 2) + 1) if steps % n == 0 or not aligned)
    half = window // 2
    return half if half % patch else half - 1


def hat(window: int) -> Tensor:
    """Weights [window] of a clip's frames, rows or columns: 1 in the middle, smaller to the ends, above 0."""
    rising = torch.arange(1, window + 1, dtype=torch.float32)
    return torch.minimum(rising, rising.flip(0)) / ((window + 1) // 2)


def make_batches(
    hidden: Tensor, windows: Sequence[Window], grid: Triple, patch: int, max_windows: int
) -> list[WindowBatch]:
    """Batches the windows that have both hidden and visible patches; all others are left out.

    A batch needs one number of hidden patches, see ``SHARE``. Windows that have fewer hide additional visible
    patches, those farthest from the hole; their fill is discarded. This is our choice: the model was trained
    on arbitrary subsets of visible patches.

    Args:
        hidden: bool [frames, rows, columns] of the film, in frames and, in space, in patches.
        windows: where the clips lie.
        grid: patches of a clip.
        patch: frames of a patch.
        max_windows: the most windows that a batch may have.
    """
    t, h, w = grid
    tokens = t * h * w
    unit = max(1, tokens // SHARE)
    views: dict[int, list[tuple[Window, Tensor]]] = {}  # by the rounded number of hidden patches
    for window in windows:
        frame, row, column = window
        frames = hidden[frame : frame + t * patch, row : row + h, column : column + w]
        view = frames.reshape(t, patch, h, w).any(1)
        count = int(view.sum())
        if 0 < count < tokens:
            rounded = min(tokens - 1, -(-count // unit) * unit)  # at least one patch stays visible
            views.setdefault(rounded, []).append((window, view))
    batches = []
    for count, group in sorted(views.items(), key=lambda item: item[0]):
        for start in range(0, len(group), max_windows):
            part = group[start : start + max_windows]
            masked = torch.stack([_hide_more(view, count) for _, view in part])
            batches.append(WindowBatch([window for window, _ in part], Mask.from_bool(masked)))
    return batches


def _hide_more(view: Tensor, count: int) -> Tensor:
    """A mask bool [t, h, w] with ``count`` hidden patches: the view's own, and those farthest from them."""
    missing = count - int(view.sum())
    if missing == 0:
        return view
    distance = torch.cdist((~view).nonzero().float(), view.nonzero().float()).amin(1)  # of visible patches
    farthest = distance.argsort(descending=True, stable=True)[:missing]
    more = view.clone()
    more[tuple((~view).nonzero()[farthest].T)] = True
    return more
