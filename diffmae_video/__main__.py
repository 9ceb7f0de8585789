"""The command line: ``diffmae COMMAND ...``, or ``python -m diffmae_video COMMAND ...``."""

import difflib
import importlib
import sys

from diffmae_video import __version__
from diffmae_video.cli import run_tool
from diffmae_video.errors import InputError

# Each command is the module of its name in diffmae_video.commands, imported only when it is called.
COMMANDS = {
    "Films and pictures": {
        "inpaint": "fill a part of a film or picture",
        "app": "the same, live in a browser",
        "gallery": "a page of inpainted examples",
        "evaluate-inpainting": "measure fills on held-out videos",
    },
    "Training": {
        "pretrain": "pre-train a model",
        "finetune": "fine-tune a classifier",
        "recipes": "list the recipes",
        "scaling": "estimate time and memory on many GPUs",
    },
    "Recognition": {
        "predict": "name what is in a video or picture",
        "evaluate": "measure a classifier",
        "features": "write the features of videos",
        "probe": "measure features with a linear, attentive or k-NN probe",
    },
    "Data and weights": {
        "check-videos": "find the videos that cannot be read",
        "convert-weights": "convert weights to and from other libraries",
    },
    "Studies": {
        "demo": "pre-train on real clips and show the result, in minutes",
        "compare": "compare objectives at equal cost",
        "recognition": "compare pre-training with training from scratch",
        "benchmark": "measure speed",
    },
}


def usage() -> str:
    """The commands, in groups, one line each."""
    lines = ["usage: diffmae COMMAND ...   (diffmae COMMAND --help explains a command)"]
    for group, commands in COMMANDS.items():
        lines += ["", group, *(f"  {name:<21}{summary}" for name, summary in commands.items())]
    return "\n".join(lines)


def run_command() -> int | None:
    """Runs the command that ``sys.argv`` names.

    Raises:
        InputError: there is no such command.
    """
    names = [name for commands in COMMANDS.values() for name in commands]
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--help", "-h", "help"):
        print(usage())
        return 0
    if name == "--version":
        print(f"diffmae-video {__version__}")
        return 0
    if name.startswith("--local_rank"):  # which the deepspeed launcher passes first
        sys.argv[1:3] = [sys.argv[2], name]
        name = sys.argv[1]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else "diffmae --help lists them"
        raise InputError(f"unknown command {name!r}; {hint}")
    sys.argv[:2] = [f"diffmae {name}"]
    return importlib.import_module(f"diffmae_video.commands.{name.replace('-', '_')}").main()


def main() -> None:
    """The entry point of ``diffmae``."""
    run_tool(run_command)


if __name__ == "__main__":
    main()
