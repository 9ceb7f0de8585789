"""Scores how well a model fills masked clips, beside an MAE and fills that need no model.

    diffmae evaluate-inpainting --checkpoint runs/vit_b DATA.VAL val.csv
    diffmae evaluate-inpainting --checkpoint runs/vit_b --mae runs/mae_b --steps 1,10,50,250,1000
    diffmae evaluate-inpainting --checkpoint outputs/demo/checkpoint --tasks random75,center \\
        --clips 8 DATA.VAL outputs/demo/lists/unseen_video.csv
    diffmae evaluate-inpainting --checkpoint runs/vit_b --clips 1024 --lpips \\
        --fvd-features X3D_M.pyth
    diffmae evaluate-inpainting --protocol --films davis/ --masks masks/ --size 432x240 \\
        --fills ours=filled/ propainter=other/ --output scores/

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
what diffmae features takes, and needs more clips than the network has features (192 for X3D, 2,304 for
SlowFast, 2,048 for the others of the hub). A video that cannot be read is named on stderr and left out.

Writes results.md, results.csv, results.png (scores over steps) and results.json, and prints the tables. If
the output is not a terminal, its last line is one JSON object: clips, size, seed, and rows, one for each task
and fill.

--protocol scores films that any method filled, as papers on video inpainting do. --films, --masks and each
folder of --fills hold one film under the same name: a video or a folder of frames (of masks, a picture too).
PSNR, SSIM (windows of 65 pixels) and the warping error (Lai et al. 2018, with OpenCV's optical flow) are of
whole frames, in which all but the hole is the truth's; --fvd-features adds VFID. Means are given over all
films, by how fast the camera and the object move, and for each film. Writes protocol.md, .csv and .json.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from diffmae_video.cli import add_precision, print_result, tool_parser, weights_path
from diffmae_video.errors import InputError


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument(
        "--checkpoint",
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
    protocol = parser.add_argument_group("scores of films that any method filled")
    protocol.add_argument("--protocol", action="store_true", help="score the films of --fills")
    protocol.add_argument("--films", metavar="DIR", type=Path, help="folder of the true films")
    protocol.add_argument("--masks", metavar="DIR", type=Path, help="folder of their masks")
    protocol.add_argument(
        "--fills", nargs="+", metavar="NAME=DIR", help="folders of filled films, each with its method's name"
    )
    protocol.add_argument("--size", metavar="WxH", help="resize everything (default: the films' own size)")
    parser.add_argument(
        "options", nargs="*", metavar="KEY VALUE", help="options that replace those of the run's config"
    )
    args = parser.parse_intermixed_args()
    if args.protocol:
        return _evaluate_protocol(args)
    for name in ("films", "masks", "fills", "size"):
        if getattr(args, name) is not None:
            raise InputError(f"--{name} belongs to --protocol")
    if args.checkpoint is None:
        raise InputError("give --checkpoint FOLDER, or --protocol with --films, --masks and --fills")
    try:
        steps = [int(n) for n in args.steps.split(",")]
    except ValueError as error:
        raise InputError(f"--steps takes whole numbers, say 1,10,50, got {args.steps!r}") from error

    from diffmae_video.inpainting.evaluate_inpainting import evaluate_inpainting

    output = args.output or args.checkpoint / "inpainting"
    result, tables = evaluate_inpainting(
        args.checkpoint,
        output,
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
    print_result(result, [output], is_shown=True)


def _evaluate_protocol(args: argparse.Namespace) -> None:
    if args.checkpoint is not None or args.options:
        raise InputError("--protocol scores films that are there; leave out --checkpoint and options")
    for name in ("films", "masks", "fills", "output"):
        if getattr(args, name) is None:
            raise InputError(f"--protocol needs --{name}")
    fills = dict(fill.partition("=")[::2] for fill in args.fills)
    if len(fills) < len(args.fills) or "truth" in fills or not all(n and f for n, f in fills.items()):
        raise InputError(f"--fills takes NAME=DIR with different names, not {' '.join(args.fills)}")
    size = None
    if args.size is not None:
        match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", args.size)
        if match is None:
            raise InputError(f"--size takes width and height, say 432x240, got {args.size!r}")
        size = int(match[1]), int(match[2])

    from diffmae_video.inpainting.protocol import evaluate_protocol

    folders = {name: Path(folder) for name, folder in fills.items()}
    result, tables = evaluate_protocol(args.films, args.masks, folders, args.output, size, args.fvd_features)
    print(tables)
    print_result(result, [args.output], is_shown=True)
