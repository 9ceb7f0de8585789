"""The same as ``diffmae probe``."""

from diffmae_video.cli import run_tool
from diffmae_video.commands.probe import main

if __name__ == "__main__":
    run_tool(main)
