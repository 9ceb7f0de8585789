"""A log of measured figures, each of which is printed and stored as soon as it is known."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from diffmae_video.benchmarks.timing import free_memory


class FigureLog:
    """Prints each figure as a line of JSON, and appends it to a file if there is one.

    A figure that fails leaves a line with its error, and the next one is measured all the same.

    Args:
        path: of the file.
        until: the ``time.time()`` after which :meth:`measure` skips what is left; None: never.
    """

    def __init__(self, path: Path | None = None, until: float | None = None) -> None:
        self.path, self.until = path, until
        self.lines: list[dict[str, Any]] = []

    def write(self, what: str, **values: Any) -> dict[str, Any]:
        """Adds a line.

        Args:
            what: the kind of figure; lines of a kind make a table.
        """
        line = {"what": what, **values}
        self.lines.append(line)
        text = json.dumps(line)
        print(text, flush=True)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(text + "\n")
        return line

    def measure(
        self, what: str, device: torch.device, figures: Callable[[], dict[str, Any]], **labels: Any
    ) -> dict[str, Any] | None:
        """Adds a line of what ``figures`` returns, or of the error that it raises.

        Args:
            labels: what was measured; they come first in the line.

        Returns:
            The line; None after an error, or if the time was up.
        """
        if self.until is not None and time.time() > self.until:
            self.write(what, **labels, skipped="the time was up")
            return None
        error = None
        try:
            values = figures()
        except Exception as exception:  # above all, running out of the device's memory
            # Not the exception itself, whose traceback keeps the failed step's tensors alive.
            error = f"{type(exception).__name__}: {' '.join(str(exception).split())[:300]}"
        free_memory(device)
        if error is not None:
            self.write(what, **labels, error=error)
            return None
        return self.write(what, **labels, **values)
