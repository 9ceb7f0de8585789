"""Writes a page of inpainted examples: truth, masked input, DiffMAE step by step, and MAE beside it.

    python tools/gallery.py --checkpoint runs/vit_b --input a.mp4 b.mp4 --output gallery
    python tools/gallery.py --checkpoint runs/vit_b --mae runs/mae_b --input clips/*.mp4 --output gallery
    python tools/gallery.py --checkpoint runs/image_b --input *.jpg --output gallery

Of each video the clip from its middle is masked in four ways (random patches, the centre, 90 % of the
patches, the second half of the frames), and each picture in the first two. DIR/index.html opens from disk and
from any web server; it needs nothing beside it but DIR/media.
"""

from __future__ import annotations

from pathlib import Path

from diffmae_video.cli import run_tool, tool_parser


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("--checkpoint", required=True, metavar="FOLDER", type=Path, help="of a DiffMAE")
    parser.add_argument(
        "--mae",
        metavar="FOLDER",
        type=Path,
        help="of an MAE of the same clips and patches",
    )
    parser.add_argument("--input", required=True, nargs="+", metavar="FILE", help="videos and pictures")
    parser.add_argument("--output", required=True, metavar="DIR", type=Path, help="where to write")
    args = parser.parse_args()

    import torch

    from diffmae_video.errors import require
    from diffmae_video.inpainting.evaluate import load_inpainter
    from diffmae_video.inpainting.examples import (
        check_pair,
        count_examples,
        inpaint_examples,
        loss_by_timestep,
        read_sources,
    )
    from diffmae_video.models import MAE, DiffMAE
    from diffmae_video.pages.gallery import write_gallery

    for module in ("jinja2", "diffusers"):  # told now, and not after the work
        require(module, "gallery")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_inpainter(args.checkpoint, DiffMAE).to(device)
    mae = None if args.mae is None else load_inpainter(args.mae, MAE).to(device)
    if mae is not None:
        check_pair(model, mae)
    sources = read_sources(args.input, args.checkpoint, model)
    args.output.mkdir(parents=True, exist_ok=True)
    examples = inpaint_examples(model, mae, sources)
    curve = loss_by_timestep(model, mae, sources)
    page = write_gallery(args.output, examples, count_examples(model, sources), curve)
    print(f"open {page.resolve()}")


if __name__ == "__main__":
    run_tool(main)
