"""The same as ``diffmae evaluate-inpainting``."""

from diffmae_video.cli import run_tool
from diffmae_video.commands.evaluate_inpainting import main

if __name__ == "__main__":
    run_tool(main)
