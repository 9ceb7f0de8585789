"""Progress of long work: a bar on a terminal, and a line now and then in a log file."""

from __future__ import annotations

import io
import sys
import time
from typing import Any

from tqdm import tqdm

LINE_SECONDS = 30.0  # between two lines; work that takes less prints none
LINE_FORMAT = (
    "{desc}: {percentage:3.0f}%, {n_fmt} of {total_fmt} {unit} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
)


class ProgressBar(tqdm):
    """tqdm's bar, which prints whole lines when stderr is not a terminal (nohup, a batch system, a pipe).

    Takes tqdm's arguments except ``file``. As with tqdm, TQDM_DISABLE=1 in the environment silences it.

    Args:
        line_seconds: the least time between two lines; 0 prints one at every update.
    """

    def __init__(
        self,
        *arguments: Any,
        line_seconds: float = LINE_SECONDS,
        bar_format: str | None = None,
        **options: Any,
    ) -> None:
        self._prints_lines = not sys.stderr.isatty()
        self._line_seconds = line_seconds
        self._next_line = time.monotonic() + line_seconds
        self._last_n = options.get("initial", 0)
        if self._prints_lines:
            bar_format = bar_format or LINE_FORMAT
            options |= {"file": io.StringIO(), "delay": line_seconds, "mininterval": line_seconds}
            options |= {"miniters": 0, "ncols": 100, "unit": options.get("unit", "it").strip()}
        else:
            options.setdefault("dynamic_ncols", True)
        if not options.get("disable"):
            options.pop("disable", None)  # leaves it to TQDM_DISABLE
        super().__init__(*arguments, bar_format=bar_format, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> Any:
        """Redraws the bar, or prints a line if one is due; tqdm calls it, also when the bar closes."""
        if not self._prints_lines:
            return super().display(msg, pos)
        is_due = time.monotonic() >= self._next_line or self.disable  # disabled: the bar is being closed
        if msg is None and is_due and self.n != self._last_n:
            self._next_line = time.monotonic() + self._line_seconds
            self._last_n = self.n
            print(self, file=sys.stderr, flush=True)
        return True
