"""Writes a page of inpainted examples: truth, masked input, DiffMAE step by step, and MAE beside it.

    diffmae gallery --checkpoint runs/vit_b --input a.mp4 b.mp4 --output gallery
    diffmae gallery --checkpoint runs/vit_b --mae runs/mae_b --input clips/*.mp4 --output gallery
    diffmae gallery --checkpoint runs/image_b --input *.jpg --output gallery

A clip from the middle of each video is masked in four ways: random patches, the centre, 90 % of the patches,
and the second half of the frames. Each picture is masked in the first two ways. Open DIR/index.html from disk
or serve it from any web server; it needs only DIR/media.
"""

from __future__ import annotations

from pathlib import Path

from diffmae_video.cli import add_precision, tool_parser, weights_path


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="FOLDER",
        type=weights_path,
        help="folder of a DiffMAE, or its name on the Hugging Face hub",
    )
    parser.add_argument(
        "--mae",
        metavar="FOLDER",
        type=weights_path,
        help="folder of an MAE of the same clips and patches: pre-train the recipe with MODEL.OBJECTIVE mae",
    )
    parser.add_argument(
        "--input", required=True, nargs="+", metavar="PATH", help="videos, pictures, frame folders"
    )
    parser.add_argument(
        "--output", required=True, metavar="DIR", type=Path, help="folder in which the page is written"
    )
    add_precision(parser)
    args = parser.parse_args()

    from diffmae_video.pages.gallery import make_gallery

    page = make_gallery(args.checkpoint, args.mae, args.input, args.output, args.precision)
    print(f"open {page.resolve()}")
