"""Writes scikit-learn's handwritten digits as pictures: a small labelled set for anybody.

    python datasets/digits.py --output digits/

writes OUTPUT/train/<digit>/*.png and OUTPUT/val/<digit>/*.png, 8 x 8 pixels: the 1,797 digits of the UCI set
(Alpaydin & Kaynak 1998). In its order, the digits of one writer are next to each other, so every fourth run
of 50 digits is held out for validation (our choice); few writers are then in both parts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from diffmae_video.cli import run_tool, tool_parser
from diffmae_video.errors import InputError, require
from diffmae_video.files import atomic_path

RUN = 50


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="a new or empty folder")
    args = parser.parse_args()
    if args.output.exists() and (not args.output.is_dir() or any(args.output.iterdir())):
        raise InputError(f"{args.output}: is not an empty folder; delete it or choose another --output")
    require("sklearn", "demo")
    from sklearn.datasets import load_digits

    digits = load_digits()
    for i, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        split = "val" if i // RUN % 4 == 3 else "train"
        image = Image.fromarray((pixels / 16 * 255).round().astype(np.uint8)).convert("RGB")
        with atomic_path(args.output / split / str(label) / f"{i:04d}.png") as aside:
            image.save(aside, "PNG")
    print(f"{len(digits.target)} pictures in {args.output}")


if __name__ == "__main__":
    run_tool(main)
