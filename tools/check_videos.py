"""The same as ``diffmae check-videos``."""

from diffmae_video.cli import run_tool
from diffmae_video.commands.check_videos import main

if __name__ == "__main__":
    run_tool(main)
