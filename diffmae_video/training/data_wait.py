"""Warns once when a run waits for its data."""

import warnings

from diffmae_video.errors import InputWarning

FIRST_STEPS = 10  # are left out: readers start, and kernels are chosen or compiled
COUNTED_STEPS = 100
LARGEST_SHARE = 0.1


class DataWait:
    """Adds up how long steps waited for data, from the eleventh step of a start on.

    A warning is given, once, if 100 steps in a row spent more than a tenth of their time waiting.
    """

    def __init__(self) -> None:
        self.skipped, self.warned = 0, False
        self._forget()

    def _forget(self) -> None:
        self.steps, self.waited, self.total = 0, 0.0, 0.0

    def add(self, steps: int, waited: float, total: float) -> None:
        """Adds steps.

        Args:
            waited: milliseconds for data, in the process that waited longest.
            total: milliseconds of the steps.
        """
        if self.skipped < FIRST_STEPS:
            self.skipped += steps
            return
        self.steps, self.waited, self.total = self.steps + steps, self.waited + waited, self.total + total
        if self.steps < COUNTED_STEPS:
            return
        share = self.waited / self.total if self.total else 0.0
        if share > LARGEST_SHARE and not self.warned:
            self.warned = True
            warnings.warn(
                f"{share:.0%} of the time of the last {self.steps} steps went by waiting for data; give the "
                "run more CPUs, raise DATA.WORKERS or DATA.REPEATS, or write small copies with "
                "datasets/resize_videos.py",
                InputWarning,
                stacklevel=2,
            )
        self._forget()
