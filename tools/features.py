"""The same as ``diffmae features``."""

from diffmae_video.cli import run_tool
from diffmae_video.commands.features import main

if __name__ == "__main__":
    run_tool(main)
