"""Calls of ``diffmae`` and of scripts in this process, since a new one takes seconds to import torch."""

import contextlib
import io
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import pytest

from diffmae_video.__main__ import main


class Done(NamedTuple):
    """How a command ended, in the words of subprocess."""

    returncode: int
    stdout: str
    stderr: str


def diffmae(command: str, *arguments: object) -> Done:
    """Runs a command with its arguments."""
    return _call(main, ["diffmae", command, *arguments])


def diffmae_on_a_terminal(command: str, *arguments: object) -> Done:
    """Runs a command whose output goes to a terminal."""
    return _call(main, ["diffmae", command, *arguments], is_terminal=True)


def script(path: Path, *arguments: object) -> Done:
    """Runs a Python file with its arguments."""
    return _call(lambda: runpy.run_path(str(path), run_name="__main__"), [path, *arguments])


def _call(function: Callable[[], object], command: list[object], is_terminal: bool = False) -> Done:
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    out.isatty = lambda: is_terminal  # type: ignore[method-assign]
    with (
        patch.object(sys, "argv", list(map(str, command))),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        function()
    return Done(ended.value.code, *(stream.buffer.getvalue().decode() for stream in (out, err)))
