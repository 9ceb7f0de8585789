"""The same as ``diffmae scaling``."""

from diffmae_video.cli import run_tool
from diffmae_video.commands.scaling import main

if __name__ == "__main__":
    run_tool(main)
