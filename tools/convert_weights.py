"""The same as ``diffmae convert-weights``."""

from diffmae_video.cli import run_tool
from diffmae_video.commands.convert_weights import main

if __name__ == "__main__":
    run_tool(main)
