"""Fine-tunes a pre-trained encoder to recognise the classes of a labelled list.

    diffmae finetune --config k400/finetune_vit_b --init runs/pretrain_vit_b \\
        DATA.TRAIN lists/train.csv DATA.VAL lists/val.csv
    diffmae finetune --config finetune/own_videos --init mae_st.pth DATA.TRAIN list.csv
    diffmae finetune --config FILE --init FOLDER --dry-run DATA.TRAIN list.csv
    torchrun --nproc_per_node 8 -m diffmae_video finetune --config FILE --init FOLDER --output runs/f --resume

--init takes a folder of this project, weights of MAE, MAE-ST, VideoMAE, Hugging Face's VideoMAE or timm, or
a model's name on the Hugging Face hub, such as MCG-NJU/videomae-base, which is downloaded.
The encoder's sizes are those of the weights, and so are the size, number of frames, stride, mean and std of
clips unless the recipe or KEY VALUE sets them. Without --init an encoder is trained from scratch.

The classes are the labels of DATA.TRAIN. The output folder gets the last step's model, and the one that was
best in validation in best/. Any option of docs/options.md can be set as KEY VALUE after the flags.

SIGTERM and SIGUSR1 end a run after the forward pass that it is in, or the next one if it has several
processes: it saves the last complete step and exits with code 75; continue with --resume. Exit code 1: the
run cannot continue by itself (a process died, or losses are not finite).
"""

from pathlib import Path

from diffmae_video.cli import training_parser, weights_path


def main() -> None:
    parser = training_parser(__doc__)
    parser.add_argument(
        "--init",
        metavar="PATH",
        type=weights_path,
        help="pre-trained weights: a folder, a file, or a name on the Hugging Face hub (FINETUNE.INIT)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print model, cost, lists, steps and estimated time, and exit"
    )
    args = parser.parse_intermixed_args()
    init = ["FINETUNE.INIT", str(args.init)] if args.init else []
    output = Path(args.output or Path("runs") / Path(args.config).stem)

    from diffmae_video.training.finetune import describe_finetuning, finetune
    from diffmae_video.training.finetuning_config import load_finetuning_config

    cfg = load_finetuning_config(args.config, [*init, *args.options], output if args.resume else None)
    if args.dry_run:
        print(describe_finetuning(cfg))
        return
    finetune(cfg, output, args.resume)
