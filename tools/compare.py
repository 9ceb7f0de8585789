"""Compares ways to pre-train: each at one budget, then fine-tuned and probed with the same labels.

    python tools/compare.py --config configs/compare/cifar10.yaml --data cifar10/
    python tools/compare.py --config configs/compare/cifar10.yaml --budget 2e14 --seeds 1
    python tools/compare.py --config configs/compare/motions.yaml --only mae,diffmae
    python tools/compare.py --config configs/compare/cifar10.yaml --budget 600 COMPARE.UNIT seconds

The systems' recipes are in the folder beside the config that has its name. --data takes a folder with train/
and test/ (or val/), each a folder per class, or with train.csv and val.csv; without it scikit-learn's digits
or, where the recipes read clips, the moving actions of datasets/ are drawn on the spot. Run it again after a
stop, whatever stopped it: what is done is not done again.

Writes OUTPUT/result.json (with environment and costs), table.md, table.csv, plot.png and index.html, a page
of all that with held-out samples as each system fills them in, and with what it makes up; the last line of
output is one JSON object with top-1 as shares.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from diffmae_video import load_config
from diffmae_video.cli import run_tool, tool_parser
from diffmae_video.errors import InputError, require

SHOWN = 6  # held-out samples on the page


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("--config", required=True, metavar="FILE", type=Path)
    parser.add_argument("--data", metavar="DIR", type=Path, help="a labelled set (default: one is drawn)")
    parser.add_argument("--output", metavar="DIR", type=Path, help="(default: outputs/compare/<config>)")
    parser.add_argument("--only", metavar="SYSTEMS", help="some of COMPARE.SYSTEMS, say mae,diffmae")
    parser.add_argument("--budget", type=float, metavar="N", help="of COMPARE.UNIT, for each pre-training")
    parser.add_argument("--seeds", type=int, metavar="N", help="in place of COMPARE.SEEDS")
    cores = os.cpu_count() or 1
    parser.add_argument("--jobs", type=int, default=cores, help="runs side by side (default: one a core)")
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="options that differ from the config")
    args = parser.parse_intermixed_args()
    flags = {"SYSTEMS": args.only, "BUDGET": args.budget, "SEEDS": args.seeds}
    given = [x for key, value in flags.items() if value is not None for x in (f"COMPARE.{key}", value)]
    cfg = load_config(args.config, [*args.options, *given])
    recipes = args.config.with_suffix("")
    if not recipes.is_dir():
        raise InputError(f"{recipes}: no such folder; the systems' recipes belong there")
    if args.jobs < 1:
        raise InputError("--jobs: 1 or more")
    output = args.output or Path("outputs/compare") / recipes.name

    from diffmae_video.files import write_text
    from diffmae_video.inpainting.side_by_side import fill_held_out, generate
    from diffmae_video.pages.comparison import write_comparison
    from diffmae_video.studies.budget import plan, systems_of
    from diffmae_video.studies.labelled_sets import digits, labelled_split, motions
    from diffmae_video.studies.study import run_study
    from diffmae_video.studies.tables import plot_study, study_csv, study_table, summary

    for module in ("jinja2", "matplotlib"):  # told now, and not after the work
        require(module, "compare")
    is_video = load_config(recipes / f"{systems_of(cfg, recipes)[0]}.yaml").DATA.NUM_FRAMES > 1
    drawn = motions if is_video else digits
    data = labelled_split(args.data) if args.data else drawn(output / "data")
    study, costs = plan(cfg, recipes, data, output)
    result = run_study(study, args.jobs) | {"costs": costs}
    write_text(output / "result.json", json.dumps(result, indent=1) + "\n")
    write_text(output / "table.md", study_table(result))
    write_text(output / "table.csv", study_csv(result))
    plot_study(result, output / "plot.png")
    folders = {system: study.folder(0, system) for system in study.systems}
    held_out = [entry.path for entry in study.entries(study.val)]
    shown = held_out[:: max(1, len(held_out) // SHOWN)][:SHOWN]
    page = write_comparison(output, result, fill_held_out(folders, shown), generate(folders))
    print(study_table(result))
    print(f"open {page.resolve()}")
    print(json.dumps(summary(result)))


if __name__ == "__main__":
    run_tool(main)
