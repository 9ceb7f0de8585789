"""The same as ``diffmae app``."""

from diffmae_video.cli import run_tool
from diffmae_video.commands.app import main

if __name__ == "__main__":
    run_tool(main)
