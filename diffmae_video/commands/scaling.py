"""Predicts what a recipe takes on many GPUs; docs/scaling.md holds the output.

    diffmae scaling                                              ViT-B, L and H on Kinetics-400
    diffmae scaling --config k400/mae_vit_l --gpus 16,32
    diffmae scaling --utilisation 0.45 --clips-per-core 20 MODEL.DECODER.KIND cross

Prints three tables in Markdown: the assumptions, each of which is a flag; time and data; and GB of memory
on each GPU by ZeRO stage, without and with activation checkpointing.
"""

from dataclasses import fields
from pathlib import Path

from diffmae_video import InputError, load_config
from diffmae_video.cli import tool_parser

RECIPES = [f"k400/pretrain_vit_{size}" for size in "blh"]


def numbers(text: str) -> list[int]:
    """The ``type`` of an argument that takes whole numbers separated by commas."""
    try:
        return [int(number) for number in text.split(",")]
    except ValueError as error:
        raise InputError(f"must be whole numbers separated by commas, such as 8,64; got {text!r}") from error


def main() -> None:
    from diffmae_video.benchmarks.scaling import Assumptions, scaling_tables

    parser = tool_parser(__doc__)
    parser.add_argument(
        "--config", action="append", metavar="FILE", help="a recipe; may be repeated (default: as above)"
    )
    parser.add_argument("--gpus", type=numbers, default=[8, 64, 256], metavar="N,N,...")
    for assumed in fields(Assumptions):
        flag = f"--{assumed.name.replace('_', '-')}"
        parser.add_argument(flag, type=float, default=assumed.default, help=assumed.metadata["meaning"])
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="options that differ from the config")
    args = parser.parse_intermixed_args()
    assumptions = Assumptions(**{x.name: getattr(args, x.name) for x in fields(Assumptions)})
    if min(args.gpus) < 1 or min(vars(assumptions).values()) <= 0:
        raise InputError("--gpus and all assumptions must be above 0")
    recipes = {Path(path).stem: load_config(path, args.options) for path in args.config or RECIPES}
    print(scaling_tables(recipes, args.gpus, assumptions))
