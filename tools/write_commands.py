"""Writes docs/reference/commands.md, the help of every command.

python tools/write_commands.py            writes it
python tools/write_commands.py --check    exits with 1 if the file is out of date
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from pathlib import Path
from unittest import mock

from diffmae_video.__main__ import COMMANDS
from diffmae_video.cli import run_tool, tool_parser
from diffmae_video.files import write_text

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/reference/commands.md"


def help_of(name: str) -> str:
    """What ``diffmae NAME --help`` prints, in lines of at most 100 characters."""
    command = importlib.import_module(f"diffmae_video.commands.{name.replace('-', '_')}")
    printed = io.StringIO()
    with (
        mock.patch.object(sys, "argv", [f"diffmae {name}", "--help"]),
        mock.patch.dict("os.environ", {"COLUMNS": "100", "NO_COLOR": "1"}),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        command.main()
    return printed.getvalue()


def commands_page() -> str:
    """The page as Markdown."""
    parts = [
        "# Commands\n",
        "`make docs-reference` writes this page from what `diffmae COMMAND --help` prints.\n",
    ]
    for group, commands in COMMANDS.items():
        parts.append(f"## {group}\n")
        for name, summary in commands.items():
            about = f"{summary[0].upper()}{summary[1:]}."
            parts.append(f"### diffmae {name}\n\n{about}\n\n```text\n{help_of(name).rstrip()}\n```\n")
    return "\n".join(parts)


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 if the file is out of date")
    if not parser.parse_args().check:
        write_text(PAGE, commands_page())
    elif PAGE.read_text(encoding="utf-8") != commands_page():
        print(f"{PAGE}: out of date; run make docs-reference", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    run_tool(main)
