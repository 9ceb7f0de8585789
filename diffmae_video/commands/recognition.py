"""Does pre-training pay? Fine-tunes from DiffMAE, from MAE and from scratch, and compares.

    diffmae recognition                             three seeds, about an hour on two cores
    diffmae recognition --seeds 1 --quick           a quarter of the steps, under 20 minutes
    diffmae recognition --pictures cifar10/         also with your own pictures

Two sets are drawn: clips of eleven motions that no single frame reveals (datasets/moving_actions.py), and
scikit-learn's digits. --pictures takes a folder with train/ and test/ (or val/), each with a folder for each
class; its recipes are for pictures of CIFAR-10's size. Recipes: configs/recognition. After a stop, run the
same command again: finished runs are kept. Writes OUTPUT/<set>.json, .md and .png. If the output is not a
terminal, its last line is one JSON object with top-1 as shares.
"""

import os
import sys
from pathlib import Path

from diffmae_video.cli import print_result, tool_parser
from diffmae_video.config import RECIPES
from diffmae_video.errors import InputError

SETS = ("motions", "digits", "pictures")


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument(
        "--output",
        metavar="DIR",
        default=Path("outputs/recognition"),
        type=Path,
        help="(default: %(default)s)",
    )
    parser.add_argument("--seeds", type=int, metavar="N", default=3, help="(default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="take a quarter of all steps")
    parser.add_argument("--pictures", metavar="DIR", type=Path, help="a folder with train/ and test/")
    parser.add_argument("--only", choices=SETS, help="one of the sets")
    cores = os.cpu_count() or 1
    parser.add_argument(
        "--jobs", type=int, metavar="N", default=cores, help="runs in parallel (default: one for each core)"
    )
    args = parser.parse_args()
    if min(args.seeds, args.jobs) < 1:
        raise InputError("--seeds and --jobs: must be at least 1")
    if args.only == "pictures" and not args.pictures:
        raise InputError("--only pictures: give their folder with --pictures DIR")
    sets: tuple[str, ...] = (args.only,) if args.only else SETS
    if "pictures" in sets and not args.pictures:
        print("pictures are left out; --pictures DIR adds them", file=sys.stderr)
        sets = ("motions", "digits")

    from diffmae_video.studies.recognition import study_recognition
    from diffmae_video.studies.result_tables import result_summary, result_table

    results = study_recognition(
        sets, RECIPES / "recognition", args.pictures, args.output, args.seeds, args.quick, args.jobs
    )
    for name, result in results.items():
        print(f"{name}\n{result_table(result)}")
    print_result(
        {name: result_summary(result) for name, result in results.items()}, [args.output], is_shown=True
    )
