"""The same as ``diffmae compare``."""

from diffmae_video.cli import run_tool
from diffmae_video.commands.compare import main

if __name__ == "__main__":
    run_tool(main)
