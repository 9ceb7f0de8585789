"""Does pre-training pay? Fine-tunes from DiffMAE, from MAE and from scratch, and compares.

    python tools/recognition.py                             three seeds, about two hours on two cores
    python tools/recognition.py --seeds 1 --quick           a quarter of the steps, under 20 minutes
    python tools/recognition.py --pictures cifar10/         with a set of pictures of your own too

Two sets are drawn on the spot: eleven motions that no single frame tells (datasets/moving_actions.py) and
scikit-learn's digits; --pictures takes a folder with train/ and test/ (or val/), a folder per class in each,
whose recipes are for CIFAR-10's size. Recipes: configs/recognition. Run it again after a stop: what is done
is not done again. Writes OUTPUT/<set>.json, .md and .png; the last line of output is one JSON object, with
top-1 as shares.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from diffmae_video.cli import run_tool, tool_parser
from diffmae_video.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
RECIPES = ROOT / "configs/recognition"
LABELLED = {"motions": 1100}  # of the clips; all are there to pre-train on


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("--output", metavar="DIR", default=Path("outputs/recognition"), type=Path)
    parser.add_argument("--seeds", type=int, metavar="N", default=3, help="(default: 3)")
    parser.add_argument("--quick", action="store_true", help="a quarter of all steps")
    parser.add_argument("--pictures", metavar="DIR", type=Path, help="a folder with train/ and test/")
    parser.add_argument("--only", choices=("motions", "digits", "pictures"), help="one of the sets")
    cores = os.cpu_count() or 1
    parser.add_argument("--jobs", type=int, default=cores, help="runs side by side (default: one a core)")
    args = parser.parse_args()
    if min(args.seeds, args.jobs) < 1:
        raise InputError("--seeds and --jobs: 1 or more")
    if args.only == "pictures" and not args.pictures:
        raise InputError("--only pictures: give their folder with --pictures DIR")

    from diffmae_video.files import write_text
    from diffmae_video.studies.labelled_sets import digits, labelled_split, motions
    from diffmae_video.studies.study import Study, run_study
    from diffmae_video.studies.tables import plot_study, study_table, summary

    sets = {}
    wanted = (args.only,) if args.only else ("motions", "digits", "pictures")
    if "motions" in wanted:
        sets["motions"] = motions(args.output / "data")
    if "digits" in wanted:
        sets["digits"] = digits(args.output / "data")
    if "pictures" in wanted and args.pictures:
        sets["pictures"] = labelled_split(args.pictures)
    elif "pictures" in wanted:
        print("pictures are left out: --pictures names no folder", file=sys.stderr)
    figures = {}
    for name, (train, val) in sets.items():
        runs = args.output / ("quick" if args.quick else "full")
        curves = ("diffmae",) if name == "motions" else ()
        study = Study(
            name,
            RECIPES / name,
            train,
            val,
            LABELLED.get(name, 0),
            runs,
            args.seeds,
            args.quick,
            curves=curves,
        )
        result = run_study(study, args.jobs)
        write_text(args.output / f"{name}.json", json.dumps(result, indent=1) + "\n")
        write_text(args.output / f"{name}.md", study_table(result))
        plot_study(result, args.output / f"{name}.png")
        print(f"{name}\n{study_table(result)}")
        figures[name] = summary(result)
    print(json.dumps(figures))


if __name__ == "__main__":
    run_tool(main)
