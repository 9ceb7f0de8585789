"""The length of a fit: a number of seconds, not of steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from diffmae_video.film.fit_windows import EPOCH

LAST = 10**9  # steps; the time ends a fit long before


class TimedPlan:
    """Ends a run when its time is over, and lowers the learning rate to 0 until then.

    It stands in for :class:`~diffmae_video.training.plan.Plan`: the loop asks for a step's rate before it takes
    the step, and for the number of steps afterwards.

    Args:
        seconds: of the whole fit.
        spent: seconds that earlier starts of it took.
        batch: windows of a step.
        peak: the highest learning rate, reached after ``warmup`` steps of a start.
        on_step: is called before every step, with its number and the seconds so far.
    """

    unit = "windows"
    count = EPOCH

    def __init__(
        self,
        seconds: float,
        spent: float,
        batch: int,
        peak: float,
        warmup: int,
        on_step: Callable[[int, float], None] | None,
    ) -> None:
        self.seconds, self.spent = seconds, spent
        self.videos = self.clips = batch
        self.peak, self.warmup, self.on_step = peak, warmup, on_step
        self.steps = LAST
        self.started: float | None = None
        self.first = 0

    @property
    def elapsed(self) -> float:
        """Seconds of the whole fit so far."""
        return self.spent + (0.0 if self.started is None else time.monotonic() - self.started)

    def rate(self, step: int) -> float:
        """The learning rate of a step, which is about to be taken; the last one if the time is over."""
        if self.started is None:
            self.started, self.first = time.monotonic(), step
        if self.on_step is not None:
            self.on_step(step, self.elapsed)
        share = min(1.0, self.elapsed / self.seconds)
        if share >= 1:
            self.steps = step + 1
        warm = min(1.0, (step - self.first + 1) / self.warmup)
        return self.peak * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))
