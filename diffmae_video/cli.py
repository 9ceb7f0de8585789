"""What all tools share: their errors are one line on stderr and exit code 2."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from diffmae_video.errors import InputError


def tool_parser(description: str) -> argparse.ArgumentParser:
    """A parser whose help shows the tool's docstring, with its examples, as it stands."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )


def run_tool(main: Callable[[], int | None]) -> None:
    """Runs a tool's main and exits: 0, or the code that it returns, or 2 with one clear line."""
    try:
        code = main() or 0
    except (InputError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        code = 130
    sys.stdout.flush()
    sys.exit(code)
