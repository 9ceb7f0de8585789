"""What all tools share: their errors are one line on stderr and exit code 2."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Callable
from typing import NoReturn

from diffmae_video.errors import InputError


class ToolParser(argparse.ArgumentParser):
    """A parser that answers a wrong flag in one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(2)


def tool_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose help shows the tool's docstring, with its examples, as it stands."""
    return ToolParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )


def describe(error: Exception) -> str:
    """An error as one line, with the remedy where it is a full disk."""
    text = str(error)
    if "Original Traceback" in text:  # a DataLoader's worker puts its whole traceback into the message
        text = text.strip().splitlines()[-1].partition(": ")[2]
    line = " ".join(text.split())
    if isinstance(error, OSError) and (error.errno == errno.ENOSPC or "No space left" in line):
        return f"{line}: the disk is full; free some space or choose another --output, and run it again"
    return line


def run_tool(main: Callable[[], int | None]) -> None:
    """Runs a tool's main and exits: 0, or the code that it returns, or 2 with one clear line."""
    try:
        code = main() or 0
    except (InputError, OSError) as error:
        print(f"error: {describe(error)}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        code = 130
    sys.stdout.flush()
    sys.exit(code)
