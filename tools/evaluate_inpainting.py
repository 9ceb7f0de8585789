"""Scores how well a model fills masked clips, beside an MAE and fills that need no model.

    python tools/evaluate_inpainting.py --checkpoint runs/vit_b DATA.VAL val.csv
    python tools/evaluate_inpainting.py --checkpoint runs/vit_b --mae runs/mae_b --steps 1,10,50,250,1000
    python tools/evaluate_inpainting.py --checkpoint outputs/demo/checkpoint --tasks random75,center \\
        --clips 8 DATA.VAL outputs/demo/lists/unseen_video.csv
    python tools/evaluate_inpainting.py --checkpoint runs/vit_b --clips 1024 --lpips \\
        --fvd-features X3D_M.pyth

--checkpoint is the folder of a run or of one of its checkpoints. Clips of DATA.VAL are sampled as the run's
config.yaml says, equally many from each video, and filled EVALUATION.BATCH_SIZE at a time. Tasks:

    random75   75 % of the patches, at random
    random90   90 % of the patches, at random
    tube       75 % of the places, the same in all frames
    center     the central half of the height and of the width, in all frames
    future     the second half of the frames (not for images)

Fills are the mean of the visible pixels, the nearest visible patch, linear interpolation in time (not for
images), the MAE's prediction, DiffMAE's samples (DDIM) with each number of steps, and with --mean-samples
the mean of that many samples, which has a higher PSNR than each of them and is blurred. Scores, of masked
pixels and of whole clips, are PSNR, SSIM, LPIPS, flicker (mean |x[t+1] - x[t]| without motion compensation)
and gradient energy, both divided by the truth's, and the distance of radial power spectra in dB. Visible
pixels are always the truth's.

--lpips takes AlexNet's ImageNet weights from torchvision's cache, or downloads them; --lpips-weights names
the file. --fvd-features adds the Fréchet distance between a network's features of filled and true clips. It
takes weights of pytorchvideo's hub (X3D, SlowFast, Slow, I3D, C2D, CSN), a model folder of this project, or
what tools/features.py takes, and needs more clips than the network has features (192 for X3D, 2,304 for
SlowFast, 2,048 for the others of the hub). A video that cannot be read is named on stderr and left out.

Writes results.md, results.csv, results.png (scores over steps) and results.json, and prints the tables. The
last line of output is one JSON object: clips, size, seed, and rows, one for each task and fill.
"""

from __future__ import annotations

import json
from pathlib import Path

from diffmae_video.cli import add_precision, run_tool, tool_parser
from diffmae_video.errors import InputError


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument(
        "--checkpoint", required=True, metavar="FOLDER", type=Path, help="folder of a DiffMAE"
    )
    parser.add_argument(
        "--mae", metavar="FOLDER", type=Path, help="folder of an MAE for the same clips and patches"
    )
    parser.add_argument(
        "--output", metavar="DIR", type=Path, help="folder of the report (default: FOLDER/inpainting)"
    )
    parser.add_argument(
        "--steps", default="1,10,50", metavar="N,...", help="numbers of sampling steps (default: 1,10,50)"
    )
    parser.add_argument(
        "--mean-samples",
        type=int,
        default=0,
        metavar="K",
        help="also score the mean of K samples (default: 0)",
    )
    parser.add_argument(
        "--clips", type=int, default=64, metavar="N", help="clips to fill, rounded up (default: 64)"
    )
    parser.add_argument(
        "--tasks", default="", metavar="NAME,...", help="tasks (default: all that the clips allow)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="for masks and noise (default: 0)")
    parser.add_argument("--lpips", action="store_true", help="compute LPIPS")
    parser.add_argument(
        "--lpips-weights", metavar="PATH", type=Path, help="compute LPIPS with these weights of AlexNet"
    )
    parser.add_argument(
        "--fvd-features", metavar="PATH", type=Path, help="compute the Fréchet distance with this network"
    )
    add_precision(parser)
    parser.add_argument(
        "options", nargs="*", metavar="KEY VALUE", help="options that replace those of the run's config"
    )
    args = parser.parse_intermixed_args()
    try:
        steps = [int(n) for n in args.steps.split(",")]
    except ValueError as error:
        raise InputError(f"--steps takes whole numbers, say 1,10,50, got {args.steps!r}") from error

    from diffmae_video.inpainting.evaluate_inpainting import evaluate_inpainting

    result, tables = evaluate_inpainting(
        args.checkpoint,
        args.output or args.checkpoint / "inpainting",
        args.options,
        mae=args.mae,
        steps=steps,
        mean_samples=args.mean_samples,
        tasks=args.tasks.split(",") if args.tasks else [],
        clips=args.clips,
        seed=args.seed,
        lpips=args.lpips,
        lpips_weights=args.lpips_weights,
        features=args.fvd_features,
        precision=args.precision,
    )
    print(tables)
    print(json.dumps(result))


if __name__ == "__main__":
    run_tool(main)
