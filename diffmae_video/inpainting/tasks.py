"""The inpainting tasks that models are evaluated on, each of which hides a part of a clip."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from diffmae_video.errors import InputError
from diffmae_video.masks import Mask
from diffmae_video.randomness import random_state
from diffmae_video.tokens import Triple


class Task(NamedTuple):
    """A way to mask clips."""

    title: str  # for tables and plots
    # gives the mask of one clip from the grid of its patches and a generator
    draw: Callable[[Triple, torch.Generator], Mask]


TASKS = {
    "random75": Task("random 75 %", lambda grid, generator: Mask.random(1, grid, 0.75, generator)),
    "random90": Task("random 90 %", lambda grid, generator: Mask.random(1, grid, 0.9, generator)),
    "tube": Task("tube 75 %", lambda grid, generator: Mask.tube(1, grid, 0.75, generator)),
    "center": Task("centre", lambda grid, _: Mask.center(1, grid)),
    "future": Task("future frames", lambda grid, generator: Mask.frame(1, grid, 0.5, generator, future=True)),
}


def check_tasks(tasks: Sequence[str], grid: Triple) -> None:
    """Draws one mask of each task, so that an impossible task fails before any work is done.

    Raises:
        InputError: a task is unknown, or impossible on this grid.
    """
    for name in tasks:
        if name not in TASKS:
            raise InputError(f"unknown task {name!r}; choose from {', '.join(TASKS)}")
        try:
            TASKS[name].draw(grid, random_state(0))
        except InputError as error:
            raise InputError(f"task {name} is impossible on a grid of {grid} patches: {error}") from error
