"""Calls of ``diffmae`` in this process, since a new one takes seconds to import torch."""

import contextlib
import io
import sys
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
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with (
        patch.object(sys, "argv", ["diffmae", command, *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return Done(ended.value.code, *(stream.buffer.getvalue().decode() for stream in (out, err)))
