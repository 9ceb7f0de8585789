"""The same as ``diffmae demo``."""

from diffmae_video.cli import run_tool
from diffmae_video.commands.demo import main

if __name__ == "__main__":
    run_tool(main)
