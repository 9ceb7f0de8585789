"""The same as ``diffmae inpaint``."""

from diffmae_video.cli import run_tool
from diffmae_video.commands.inpaint import main

if __name__ == "__main__":
    run_tool(main)
