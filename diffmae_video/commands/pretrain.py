"""Pre-trains a model.

    diffmae pretrain --config k400/pretrain_vit_b DATA.TRAIN lists/train.csv
    deepspeed --num_gpus 8 --module diffmae_video pretrain --config k400/pretrain_vit_b --output runs/b
    torchrun --nproc_per_node 8 -m diffmae_video pretrain --config FILE TRAIN.BATCH_SIZE 16
    diffmae pretrain --config FILE --output runs/b --resume     # continues, or starts
    diffmae pretrain --config FILE --init runs/b DATA.TRAIN my_films/    # adapts a model to own films
    WORLD_SIZE=8 diffmae pretrain --config FILE --dry-run DATA.TRAIN lists/train.csv

--init takes a folder of this project, weights of MAE, MAE-ST, VideoMAE, Hugging Face's VideoMAE or timm, or
a model's name on the Hugging Face hub, which is downloaded (MODEL.INIT). The recipe must have the encoder's
sizes. A folder's decoder is taken if the recipe's is equal.

Any option of docs/options.md can be set as KEY VALUE after the flags.

SIGTERM and SIGUSR1 end a run after the forward pass that it is in, or the next one if it has several
processes: it saves the last complete step and exits with code 75; continue with --resume. Exit code 1: the
run cannot continue by itself (a process died, or losses are not finite).
"""

from __future__ import annotations

from pathlib import Path

from diffmae_video import load_config
from diffmae_video.cli import training_parser, weights_path


def main() -> None:
    parser = training_parser(__doc__)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print model, cost, memory, steps, rate and estimated time, and exit",
    )
    parser.add_argument(
        "--init",
        metavar="PATH",
        type=weights_path,
        help="weights to start from: a folder, a file, or a name on the Hugging Face hub (MODEL.INIT)",
    )
    args = parser.parse_intermixed_args()
    init = ["MODEL.INIT", str(args.init)] if args.init else []
    cfg = load_config(args.config, [*init, *args.options])

    from diffmae_video.training.pretrain import describe_run, pretrain

    if args.dry_run:
        print(describe_run(cfg))
        return
    pretrain(cfg, args.output or Path("runs") / Path(args.config).stem, args.resume)
