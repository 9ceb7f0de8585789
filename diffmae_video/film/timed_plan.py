"""The length of a fit: a time, or a number of steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

from diffmae_video.errors import InputError
from diffmae_video.film.fit_windows import EPOCH

LAST = 10**9  # steps; the time ends a fit long before


class FitLength(NamedTuple):
    """How long a fit takes.

    Attributes:
        seconds: its time; how many steps that makes depends on the machine.
        steps: its number of steps instead, with which it ends the same on every run; 0: the time decides.
    """

    seconds: float
    steps: int = 0

    @classmethod
    def parse(cls, length: str | float) -> FitLength:
        """Reads 90s, 5m, 1.5h, 300steps or 0; a number is in seconds.

        Raises:
            InputError: it is written in another way, or negative.
        """
        text = str(length)
        unit = next(unit for unit in ("steps", "s", "m", "h", "") if text.endswith(unit))
        number = text.removesuffix(unit)
        try:
            value = float(number)
            if not 0 <= value < math.inf or (unit == "steps" and value != int(value)):
                raise ValueError
        except ValueError:
            raise InputError(f"--fit {text}: write a time such as 90s, 5m or 1h, or 300steps, or 0") from None
        if unit == "steps":
            return cls(math.inf, int(value))
        return cls(value * {"h": 3600, "m": 60}.get(unit, 1))

    def share(self, step: int, seconds: float) -> float:
        """How much of the fit is done after a number of steps and seconds, 0 to 1."""
        if not self:
            return 1.0
        return min(1.0, step / self.steps if self.steps else seconds / self.seconds)

    def __bool__(self) -> bool:
        """Whether there is anything to learn."""
        return self.seconds > 0

    def rehearsals(self) -> int:
        """How many rehearsals a fit makes; each takes some seconds (our choice)."""
        return int(min(16, max(3, self.steps / 50 if self.steps else self.seconds / 20)))

    def __str__(self) -> str:
        if self.steps:
            return f"{self.steps} steps"
        for unit, size in (("h", 3600), ("m", 60)):
            if self.seconds >= size and self.seconds % size == 0:
                return f"{self.seconds / size:g}{unit}"
        return f"{self.seconds:.0f}s"


class TimedPlan:
    """Ends a run when its time is over, and lowers the learning rate to 0 until then.

    It stands in for :class:`~diffmae_video.training.step_schedule.Plan`. The loop asks for a step's rate
    before it takes the step, and for the number of steps afterwards.

    Args:
        length: of the whole fit.
        spent: seconds that earlier starts of it took.
        batch: windows of a step.
        peak: the highest learning rate, reached after ``warmup`` steps of a start.
        on_step: is called before every step, with its number and the seconds so far.
    """

    to_continue = "start it again to continue"
    count = EPOCH
    planned_steps = None

    def __init__(
        self,
        length: FitLength,
        spent: float,
        batch: int,
        peak: float,
        warmup: int,
        on_step: Callable[[int, float], None] | None,
    ) -> None:
        self.length, self.spent = length, spent
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
        share = self.length.share(step, self.elapsed)
        if self.length.share(step + 1 if self.length.steps else step, self.elapsed) >= 1:
            self.steps = step + 1
        warm = min(1.0, (step - self.first + 1) / self.warmup)
        return self.peak * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))
