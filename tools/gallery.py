"""The same as ``diffmae gallery``."""

from diffmae_video.cli import run_tool
from diffmae_video.commands.gallery import main

if __name__ == "__main__":
    run_tool(main)
