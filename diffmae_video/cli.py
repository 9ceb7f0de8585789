"""The command-line conventions of all tools.

Errors are one line on stderr, with exit code 2. Results are text on a terminal; elsewhere they end with one
JSON object in a line of its own, for scripts.
"""

import argparse
import errno
import json
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from diffmae_video.errors import InputError, InputWarning


class ToolParser(argparse.ArgumentParser):
    """A parser that reports a wrong flag in one line, without printing the usage.

    If the ``type`` of an argument raises an InputError, that line has its message.
    """

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(2)

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError as error:  # argparse hides the text of a ValueError
            if isinstance(error.__context__, InputError):
                raise argparse.ArgumentError(action, describe(error.__context__)) from error
            raise


def tool_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose help shows the tool's docstring unchanged, examples included."""
    return ToolParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )


def weights_path(name: str) -> Path:
    """The ``type`` of an argument that takes weights: a path, or a model's name on the Hugging Face hub."""
    from diffmae_video.hub import local_weights

    return local_weights(name)


def training_parser(description: str | None) -> argparse.ArgumentParser:
    """The parser of a tool that trains a model by a recipe."""
    parser = tool_parser(description)
    parser.add_argument(
        "--config", required=True, metavar="FILE", help="the recipe: one of diffmae recipes, or a file"
    )
    parser.add_argument(
        "--output", metavar="DIR", help="folder of the run (default: runs/<name of the config>)"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue from the newest complete checkpoint in the folder, or start if there is none",
    )
    parser.add_argument(
        "--local_rank", help="passed by the deepspeed launcher and ignored; the rank is read from LOCAL_RANK"
    )
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="options that override the recipe")
    return parser


def add_precision(parser: argparse.ArgumentParser) -> None:
    """The flag of a tool that samples, see :func:`~diffmae_video.runtime.device.sampling_dtype`."""
    parser.add_argument(
        "--precision",
        choices=("auto", "bf16", "fp32"),
        default="auto",
        help="of the model's weights; auto: bf16 on a GPU, fp32 elsewhere (default: auto)",
    )


def print_result(result: Mapping[str, Any], wrote: Sequence[str | Path] = (), is_shown: bool = False) -> None:
    """Ends a tool's output: figures and what was written on a terminal, one JSON object elsewhere.

    Args:
        wrote: the files and folders that hold the result.
        is_shown: whether the figures are already on the screen, as a table or in other words.
    """
    short = shortened(result)
    if not sys.stdout.isatty():
        print(json.dumps(short))
        return
    if not is_shown:
        width = max(map(len, short), default=0)
        for name, value in short.items():
            print(f"{name:{width}s}  {value if isinstance(value, str) else json.dumps(value)}")
    if wrote:
        *first, last = map(str, wrote)
        print(f"wrote {', '.join(first)} and {last}" if first else f"wrote {last}")


def shortened(value: Any) -> Any:
    """A result with all floats cut to 4 decimals, or below 1 to 4 significant digits."""
    if isinstance(value, float):
        return round(value, 4) if abs(value) >= 1 else float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {name: shortened(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [shortened(one) for one in value]
    return value


def describe(error: Exception) -> str:
    """An error as one line; if the disk is full, with the remedy."""
    text = str(error)
    if "Original Traceback" in text:  # a DataLoader worker puts its whole traceback into the message
        text = text.strip().splitlines()[-1].partition(": ")[2]
    line = " ".join(text.split())
    if isinstance(error, OSError) and (error.errno == errno.ENOSPC or "No space left" in line):
        return f"{line}: the disk is full; free some space or choose another --output, then run it again"
    return line


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Leaves the place in the code out of warnings about the input."""
    if issubclass(category, InputWarning):
        return f"warning: {message}\n"
    return _format_with_place(message, category, filename, lineno, line)


_format_with_place = warnings.formatwarning


def run_tool(main: Callable[[], int | None]) -> None:
    """Runs a tool's main and exits with its code, or with the error's and one line on stderr."""
    for stream in (sys.stdout, sys.stderr):  # file names need not be valid Unicode
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    warnings.formatwarning = _format_warning
    try:
        code = main() or 0
    except (InputError, OSError) as error:
        print(f"error: {describe(error)}", file=sys.stderr)
        code = error.exit_code if isinstance(error, InputError) else 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        code = 130
    sys.stdout.flush()
    sys.exit(code)
