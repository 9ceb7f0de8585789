"""The same as ``diffmae recognition``."""

from diffmae_video.cli import run_tool
from diffmae_video.commands.recognition import main

if __name__ == "__main__":
    run_tool(main)
