"""The same as ``diffmae pretrain``."""

from diffmae_video.cli import run_tool
from diffmae_video.commands.pretrain import main

if __name__ == "__main__":
    run_tool(main)
