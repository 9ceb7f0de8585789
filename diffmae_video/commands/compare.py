"""Compares systems that were pre-trained at the same budget, then fine-tuned and probed with the same labels.

    diffmae compare --config compare/cifar10 --data cifar10/
    diffmae compare --config compare/cifar10 --budget 2e14 --seeds 1
    diffmae compare --config compare/motions --only mae,diffmae
    diffmae compare --config compare/cifar10 --budget 600 COMPARE.UNIT seconds

    diffmae compare --config compare/fills --jobs 2

Each system's recipe is in the folder next to the config with the same name. --data takes a folder with train/
and test/ (or val/), each with a folder for each class, or with train.csv and test.csv (or val.csv). Without
it, scikit-learn's digits are used or, if the recipes read clips, the moving actions of datasets/. After any
stop, run the same command again: finished runs are kept, and interrupted ones continue.

A config with COMPARE.TASK fills trains the systems on the demo's videos (--data: a folder of your own) and
compares what they fill in on held-out parts; it writes result.json and table.md.

Writes OUTPUT/result.json (with environment and costs), table.md, table.csv, plot.png and index.html, a page
with all of these, held-out samples as each system fills them in, and samples that it makes up. If the output
is not a terminal, its last line is one JSON object with top-1 as shares.
"""

import os
from pathlib import Path

from diffmae_video.cli import print_result, tool_parser
from diffmae_video.config import load_config, recipe_path
from diffmae_video.errors import InputError


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument(
        "--config", required=True, metavar="FILE", type=recipe_path, help="see diffmae recipes compare"
    )
    parser.add_argument(
        "--data", metavar="DIR", type=Path, help="a labelled data set (default: a small one, see above)"
    )
    parser.add_argument(
        "--output", metavar="DIR", type=Path, help="(default: outputs/compare/<name of the config>)"
    )
    parser.add_argument("--only", metavar="SYSTEMS", help="overrides COMPARE.SYSTEMS, e.g. mae,diffmae")
    parser.add_argument(
        "--budget", type=float, metavar="N", help="budget of each pre-training, in COMPARE.UNIT"
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="overrides COMPARE.SEEDS")
    cores = os.cpu_count() or 1
    parser.add_argument(
        "--jobs", type=int, metavar="N", default=cores, help="runs in parallel (default: one for each core)"
    )
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="options that override the config")
    args = parser.parse_intermixed_args()
    if args.jobs < 1:
        raise InputError(f"--jobs: must be at least 1, got {args.jobs}")
    flags = {"SYSTEMS": args.only, "BUDGET": args.budget, "SEEDS": args.seeds}
    given = [x for key, value in flags.items() if value is not None for x in (f"COMPARE.{key}", value)]
    output = args.output or Path("outputs/compare") / args.config.stem

    if load_config(args.config).COMPARE.TASK == "fills":
        from diffmae_video.studies.fill_comparison import compare_fills, fill_table

        print(fill_table(compare_fills(args.config, [*args.options, *given], args.data, output, args.jobs)))
        print(f"wrote {output}")
        return

    from diffmae_video.studies.comparison import compare
    from diffmae_video.studies.result_tables import result_summary, result_table

    result = compare(args.config, [*args.options, *given], args.data, output, args.jobs)
    print(result_table(result))
    print(f"open {(output / 'index.html').resolve()}")
    print_result(result_summary(result), is_shown=True)
