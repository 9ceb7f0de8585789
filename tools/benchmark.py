"""The same as ``diffmae benchmark``."""

from diffmae_video.cli import run_tool
from diffmae_video.commands.benchmark import main

if __name__ == "__main__":
    run_tool(main)
