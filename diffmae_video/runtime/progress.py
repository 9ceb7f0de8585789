"""Progress of long work: a bar on a terminal, and a line now and then in a log file."""

import io
import sys
import threading
import time
import weakref
from typing import Any

from tqdm import tqdm

LINE_SECONDS = 30.0  # between two lines; shorter work prints none
LINE_FORMAT = (
    "{desc}: {percentage:3.0f}%, {n_fmt} of {total_fmt} {unit} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
)


# One process draws each bar. tqdm's own lock is a semaphore, which a process that is killed leaks.
tqdm.set_lock(threading.RLock())


class ProgressBar(tqdm):
    """tqdm's bar, which prints whole lines when stderr is not a terminal (nohup, a batch system, a pipe).

    Lines keep coming while a single step takes long, so that a log shows that the work goes on. Takes tqdm's
    arguments except ``file``. As with tqdm, TQDM_DISABLE=1 in the environment silences it.

    Args:
        line_seconds: the time between two lines; 0 prints one at every update instead.
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
        self._started = time.monotonic()
        self._next_line = self._started + line_seconds
        self._last_n = options.get("initial", 0)
        self._closed = threading.Event()
        if self._prints_lines:
            bar_format = bar_format or LINE_FORMAT
            options |= {"file": io.StringIO(), "mininterval": 0, "miniters": 0, "smoothing": 0}
            options |= {"ncols": 100, "unit": options.get("unit", "it").strip()}
        else:
            options.setdefault("dynamic_ncols", True)
        if not options.get("disable"):
            options.pop("disable", None)  # leaves it to TQDM_DISABLE
        super().__init__(*arguments, bar_format=bar_format, **options)
        if self._prints_lines and line_seconds and not self.disable:
            threading.Thread(
                target=_print_lines, args=(weakref.ref(self), self._closed, line_seconds), daemon=True
            ).start()

    def display(self, msg: str | None = None, pos: int | None = None) -> Any:
        """Redraws the bar, or prints a line if one is due; tqdm calls it, also when the bar closes."""
        if not self._prints_lines:
            return super().display(msg, pos)
        now, is_new = time.monotonic(), self.n != self._last_n
        if self.disable:  # tqdm sets it when the bar is being closed
            is_due = is_new and now - self._started >= self._line_seconds
        else:
            is_due = now >= self._next_line and (is_new or self._line_seconds > 0)
        if msg is None and is_due:
            self._next_line, self._last_n = now + self._line_seconds, self.n
            print(self, file=sys.stderr, flush=True)
        return True

    def close(self) -> None:
        """Ends the bar. If the work was long, the last line shows its end."""
        self._closed.set()
        super().close()


def _print_lines(bar: weakref.ReferenceType[ProgressBar], closed: threading.Event, seconds: float) -> None:
    """Runs beside the work and prints a line whenever one is due."""
    while not closed.wait(seconds):
        alive = bar()
        if alive is None:
            return
        alive.refresh()
        del alive
