"""Fills the hole of a whole video or picture, of any length, size and rate.

    python tools/inpaint.py --checkpoint runs/vit_b --input film.mp4 --output out.mp4 --mask 40,30,64,48
    python tools/inpaint.py --checkpoint runs/vit_b --input film.mp4 --output out.mp4 --mask 40,30,64,48,2,5.5
    python tools/inpaint.py --checkpoint runs/vit_b --input film.mp4 --output out.webm --mask hole.png --tiles
    python tools/inpaint.py --checkpoint runs/vit_b --input film.mp4 --output out.gif --mask masks.mp4
    python tools/inpaint.py --checkpoint runs/vit_b --input photo.jpg --output out.png --samples 4
    python tools/inpaint.py --checkpoint runs/vit_b --input film.mp4 --output out.png --mask random \\
        --mask-ratio 0.9 --sampler dpm++ --steps 10 --save-steps

--mask is one of

    x,y,w,h            a box of pixels of the upright frame, from its left upper corner
    x,y,w,h,t0,t1      the same from t0 up to t1 seconds
    a picture          white (or, with transparency, opaque) is filled in; for all frames
    a video            the same, with a frame for each of the input's
    random, tube, frame, block, center
                       drawn on the model's patches, --mask-ratio of them (the centre: half of each side)

and by default the model's own kind. Frames are resized to the model's size and the fill back, without
cropping; with --tiles they keep their size, and clips lie side by side with overlap. Every frame is a frame
of the model's clips. Visible pixels are the input's own until they are encoded: exact in PNG.

--output's ending chooses: .mp4 (H.264), .webm (VP9), .gif, or .png: of a film, film.png stands for the folder
film/ with 00000.png, 00001.png and so on. Sound is copied into mp4 and, if it is Opus or Vorbis, WebM. Times
of frames that are not steady are kept. Sample k > 1 goes to film-k.mp4, and with --save-steps the first
sample's x0 predictions go to film-steps/t1000.mp4 and so on, T first. film.json beside it holds the figures,
which are the last line of the output too: psnr, flicker and gradient_ratio compare with what the input has in
the hole (flicker: mean |x[t + 1] - x[t]| over the input's), joint_difference is the mean
|x[t] - x[t - 1]| at frames where a clip starts or ends, stretch_joint_difference where clips are first
sampled apart from those before, inner_difference at the other frames, and patch_difference at those of them
where a patch starts (random, frame and block masks tie clips to patches, and two patches differ more than the
frames of one), in levels of 255; "truth" has the input's.
"""

from __future__ import annotations

import json
from pathlib import Path

from diffmae_video.cli import run_tool, tool_parser
from diffmae_video.errors import InputError


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument(
        "--checkpoint", required=True, metavar="FOLDER", type=Path, help="of a DiffMAE or MAE"
    )
    parser.add_argument("--input", required=True, metavar="FILE", type=Path, help="a video or a picture")
    parser.add_argument(
        "--output", required=True, metavar="FILE", type=Path, help=".mp4, .webm, .gif or .png"
    )
    parser.add_argument("--mask", metavar="MASK", help="what to fill (default: the model's own kind)")
    parser.add_argument("--mask-ratio", type=float, metavar="R", help="of a kind (default: the model's own)")
    parser.add_argument("--samples", type=int, default=1, metavar="N", help="films to make (default: 1)")
    parser.add_argument("--save-steps", action="store_true", help="write the first one's x0 predictions too")
    parser.add_argument("--tiles", action="store_true", help="keep the frames' size; default: resize")
    parser.add_argument(
        "--sampler", choices=("ddpm", "ddim", "dpm++"), default="ddim", help="(default: ddim)"
    )
    parser.add_argument("--steps", type=int, default=50, metavar="N", help="of sampling (default: 50)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of noise and masks (default: 0)")
    parser.add_argument(
        "--crf", type=int, default=12, metavar="Q", help="of mp4, WebM: 0 is best (default: 12)"
    )
    args = parser.parse_args()
    for name, low, high in (("samples", 1, 100), ("seed", 0, 2**32 - 1), ("crf", 0, 51)):
        if not low <= getattr(args, name) <= high:
            raise InputError(f"--{name} is from {low} to {high}, got {getattr(args, name)}")

    from diffmae_video.inpainting.film.film_filler import SamplerOptions
    from diffmae_video.inpainting.film.inpaint_film import inpaint_film

    sampling = SamplerOptions(args.sampler, args.steps, args.seed, args.samples, args.save_steps)
    result = inpaint_film(
        args.checkpoint, args.input, args.output, args.mask, args.mask_ratio, sampling, args.tiles, args.crf
    )
    print(json.dumps(result))


if __name__ == "__main__":
    run_tool(main)
