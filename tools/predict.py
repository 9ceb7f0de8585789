"""The same as ``diffmae predict``."""

from diffmae_video.cli import run_tool
from diffmae_video.commands.predict import main

if __name__ == "__main__":
    run_tool(main)
