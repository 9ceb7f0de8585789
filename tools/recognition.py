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
import subprocess
import sys
from pathlib import Path

from diffmae_video.cli import run_tool, tool_parser
from diffmae_video.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
RECIPES = ROOT / "configs/recognition"
MOTIONS = ["--plain", "--size", "32", "--train", "3300", "--val", "880"]
LABELLED = {"motions": 1100}  # of the clips; all are there to pre-train on


def drawn(output: Path, script: str, *options: str) -> Path:
    """A set that a script of datasets/ makes, once."""
    if not output.exists():
        aside = output.with_name(f".{output.name}.tmp-{os.getpid()}")
        subprocess.run([sys.executable, ROOT / "datasets" / script, "--output", aside, *options], check=True)
        aside.rename(output)
    return output


def split_of(folder: Path) -> tuple[Path, Path]:
    for name in ("test", "val"):
        if (folder / "train").is_dir() and (folder / name).is_dir():
            return folder / "train", folder / name
    raise InputError(f"{folder}: has no train/ with a test/ or val/ beside it; give a folder that has both")


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

    from diffmae_video.evaluation.recognition import Study, run_study
    from diffmae_video.files import write_text
    from diffmae_video.rendering.recognition import (
        final_probes,
        final_runs,
        plot_study,
        study_table,
    )

    sets = {}
    wanted = (args.only,) if args.only else ("motions", "digits", "pictures")
    if "motions" in wanted:
        folder = drawn(args.output / "data/motions", "moving_actions.py", *MOTIONS)
        sets["motions"] = (folder / "train.csv", folder / "val.csv")
    if "digits" in wanted:
        sets["digits"] = split_of(drawn(args.output / "data/digits", "digits.py"))
    if "pictures" in wanted and args.pictures:
        sets["pictures"] = split_of(args.pictures)
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
        figures[name] = {
            init: {
                **{share: final_runs(result, init, share) for share in ("few", "all")},
                "linear": final_probes(result, init),
            }
            for init in ("scratch", "mae", "diffmae")
        } | ({"motion": result["motion"]} if "motion" in result else {})
    print(json.dumps(figures))


if __name__ == "__main__":
    run_tool(main)
