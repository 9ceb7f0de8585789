"""The same as ``diffmae finetune``."""

from diffmae_video.cli import run_tool
from diffmae_video.commands.finetune import main

if __name__ == "__main__":
    run_tool(main)
