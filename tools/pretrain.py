"""Pre-trains a model.

    python tools/pretrain.py --config configs/k400/pretrain_vit_b.yaml DATA.TRAIN lists/train.csv
    deepspeed --num_gpus 8 tools/pretrain.py --config configs/k400/pretrain_vit_b.yaml --output runs/b
    torchrun --nproc_per_node 8 tools/pretrain.py --config FILE TRAIN.BATCH_SIZE 16

Every option of diffmae_video/config.py can be set as KEY VALUE after the flags.
"""

from __future__ import annotations

from pathlib import Path

from diffmae_video import load_config
from diffmae_video.cli import run_tool, tool_parser


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("--config", required=True, metavar="FILE", help="a recipe, see configs/")
    parser.add_argument(
        "--output", metavar="DIR", help="the run's folder (default: runs/<name of the config>)"
    )
    parser.add_argument("--local_rank", help="set by the deepspeed launcher; LOCAL_RANK is read instead")
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="options that differ from the config")
    args = parser.parse_intermixed_args()
    cfg = load_config(args.config, args.options)

    from diffmae_video.training.pretrain import pretrain

    pretrain(cfg, args.output or Path("runs") / Path(args.config).stem)


if __name__ == "__main__":
    run_tool(main)
