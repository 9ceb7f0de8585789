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


def training_parser(description: str | None) -> argparse.ArgumentParser:
    """The parser of a tool that runs a recipe."""
    parser = tool_parser(description)
    parser.add_argument("--config", required=True, metavar="FILE", help="a recipe, see configs/")
    parser.add_argument(
        "--output", metavar="DIR", help="the run's folder (default: runs/<name of the config>)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the newest whole checkpoint of the folder, if any"
    )
    parser.add_argument("--local_rank", help="set by the deepspeed launcher; LOCAL_RANK is read instead")
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="options that differ from the config")
    return parser


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
    for stream in (sys.stdout, sys.stderr):  # a file's name need not be valid Unicode
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
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
