"""Measures how well a model fills masked clips, beside an MAE and fills that need no model.

    python tools/evaluate_inpainting.py --checkpoint runs/vit_b DATA.VAL val.csv
    python tools/evaluate_inpainting.py --checkpoint runs/vit_b --mae runs/mae_b --steps 1,10,50,250,1000
    python tools/evaluate_inpainting.py --checkpoint outputs/demo/checkpoint --tasks random75,center \\
        --clips 8 DATA.VAL outputs/demo/lists/unseen_video.csv
    python tools/evaluate_inpainting.py --checkpoint runs/vit_b --clips 1024 --lpips \\
        --fvd-features videomae_b.pth

--checkpoint is a run's folder or one of its checkpoints; clips of DATA.VAL are sampled as its config.yaml
says, the same number of each video, EVALUATION.BATCH_SIZE at a time. Tasks:

    random75   random patches, 75 %
    random90   random patches, 90 %
    tube       75 % of the places, at all times
    center     the central half of height and width, at all times
    future     the second half of the frames (not of images)

Fills: the mean of the visible pixels, the nearest visible patch, linear interpolation in time (not of
images), the MAE's prediction, and DiffMAE's samples (DDIM) of each number of steps. Of masked pixels and of
all: PSNR, SSIM, LPIPS, flicker (mean |x[t+1] - x[t]| over the truth's; nothing is warped), gradient energy
over the truth's, and the distance of radial power spectra in dB. Visible pixels are the truth's.

--lpips takes AlexNet's ImageNet weights from where torchvision keeps them, or downloads them;
--lpips-weights names the file. --fvd-features is a folder of this project or what tools/features.py takes:
the Fréchet distance between its features of filled and true clips, FVD where they are I3D's. It needs
more clips than features. A video that cannot be read is named on stderr and left out.

Writes results.md, results.csv, results.png (quality over steps) and results.json, and prints the tables; the
last line of output is one JSON object: clips, size, seed and rows, one for each task and fill.
"""

from __future__ import annotations

import json
from pathlib import Path

from diffmae_video.cli import run_tool, tool_parser
from diffmae_video.errors import InputError


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("--checkpoint", required=True, metavar="FOLDER", type=Path, help="of a DiffMAE")
    parser.add_argument("--mae", metavar="FOLDER", type=Path, help="of an MAE of the same patch")
    parser.add_argument(
        "--output", metavar="DIR", type=Path, help="where to write (default: FOLDER/inpainting)"
    )
    parser.add_argument("--steps", default="1,10,50", metavar="N,...", help="of sampling (default: 1,10,50)")
    parser.add_argument("--clips", type=int, default=64, metavar="N", help="or a few more (default: 64)")
    parser.add_argument("--tasks", default="", metavar="NAME,...", help="(default: all that the clips allow)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of masks and noise (default: 0)")
    parser.add_argument("--lpips", action="store_true", help="measure LPIPS")
    parser.add_argument("--lpips-weights", metavar="PATH", type=Path, help="measure it with this AlexNet")
    parser.add_argument("--fvd-features", metavar="PATH", type=Path, help="weights of a model for features")
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="options that differ from the run's")
    args = parser.parse_intermixed_args()
    try:
        steps = [int(n) for n in args.steps.split(",")]
    except ValueError as error:
        raise InputError(f"--steps takes whole numbers, say 1,10,50, got {args.steps!r}") from error

    from diffmae_video.inpainting.evaluate import evaluate_inpainting
    from diffmae_video.inpainting.report import write_report

    output = args.output or args.checkpoint / "inpainting"
    tasks = args.tasks.split(",") if args.tasks else []
    result = evaluate_inpainting(
        args.checkpoint,
        output,
        args.options,
        args.mae,
        steps,
        tasks,
        args.clips,
        args.seed,
        args.lpips,
        args.lpips_weights,
        args.fvd_features,
    )
    print(write_report(result, output))
    print(json.dumps(result))


if __name__ == "__main__":
    run_tool(main)
