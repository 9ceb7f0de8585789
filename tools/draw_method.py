"""Draws docs/method.png, the figure of the method, with a trained model.

make demo && python tools/draw_method.py --input film.mp4
python tools/draw_method.py --checkpoint runs/vit_b --input film.mp4 --output method.png
"""

from __future__ import annotations

from pathlib import Path

from diffmae_video.cli import run_tool, tool_parser, weights_path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("--input", required=True, metavar="FILE", type=Path, help="a video")
    parser.add_argument(
        "--checkpoint",
        metavar="FOLDER",
        type=weights_path,
        default=ROOT / "outputs/demo/checkpoint",
        help="a DiffMAE (default: the demo's)",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        default=ROOT / "docs/method.png",
        help="(default: docs/method.png)",
    )
    args = parser.parse_args()

    from diffmae_video.studies.method_figure import draw_method

    draw_method(args.checkpoint, args.input, args.output)


if __name__ == "__main__":
    run_tool(main)
