"""Fine-tunes a pre-trained encoder to recognise the classes of a labelled list.

    python tools/finetune.py --config configs/k400/finetune_vit_b.yaml --init runs/pretrain_vit_b \\
        DATA.TRAIN lists/train.csv DATA.VAL lists/val.csv
    python tools/finetune.py --config configs/finetune/own_videos.yaml --init mae_st.pth DATA.TRAIN list.csv
    torchrun --nproc_per_node 8 tools/finetune.py --config FILE --init FOLDER --output runs/f --resume

--init takes a folder of this project, or weights of MAE, MAE-ST, VideoMAE, HF VideoMAE or timm; the
sizes of the encoder are those of the weights. Without it the encoder of the recipe starts from scratch.
The classes are the labels of DATA.TRAIN. The folder ends with the last step's model; best/ in it holds the
one that was best in validation. Any option of docs/options.md can be set as KEY VALUE.

SIGTERM and SIGUSR1 end a run after the step that it is in: it saves and exits with code 75, and
--resume goes on. Code 1: it cannot go on by itself (a process died, or steps are not finite).
"""

from __future__ import annotations

from pathlib import Path

from diffmae_video.cli import run_tool, training_parser


def main() -> None:
    parser = training_parser(__doc__)
    parser.add_argument(
        "--init", metavar="PATH", help="pre-trained weights: a folder or a file (FINETUNE.INIT)"
    )
    args = parser.parse_intermixed_args()
    init = ["FINETUNE.INIT", args.init] if args.init else []

    from diffmae_video.training.finetune import finetune
    from diffmae_video.training.finetuning_config import load_finetuning_config

    cfg = load_finetuning_config(args.config, [*init, *args.options])

    finetune(cfg, args.output or Path("runs") / Path(args.config).stem, args.resume)


if __name__ == "__main__":
    run_tool(main)
