"""Evaluates a fine-tuned classifier on a labelled list, with several views of each video.

    diffmae evaluate --checkpoint runs/finetune EVALUATION.VIEWS 5,3
    diffmae evaluate --checkpoint runs/finetune DATA.VAL lists/test.csv --output results/test
    diffmae evaluate --checkpoint runs/finetune/checkpoints/step_00001000 --ema
    torchrun --nproc_per_node 8 -m diffmae_video evaluate --checkpoint FOLDER EVALUATION.VIEWS 7,3
    deepspeed --num_gpus 8 --module diffmae_video evaluate --checkpoint FOLDER EVALUATION.POLICY skip

EVALUATION.VIEWS n,m averages the logits of n clips spread evenly over a video times m crops along the longer
side. The labels of DATA.VAL are matched to the model's classes by name. The figures do not depend on the
number of processes. EVALUATION.POLICY says what to do about a video that cannot be read: stop (fail), count
it as wrong (wrong) or leave it out (skip).

Writes metrics.json, predictions.csv, per_class.csv, logits.safetensors and confusion.png, and prints the
figures; if the output is not a terminal, as one JSON object in its last line: top1, top5 (all classes if
there are fewer than 5), ece (expected calibration error, 15 bins) and mean_class_accuracy, or only map (mean
average precision) for several labels per video, all from 0 to 1; videos, unread and views; gflops_per_view
and gflops (of all views), which count a multiply-accumulate as 1, as papers do.
"""

from pathlib import Path

from diffmae_video.cli import print_result, tool_parser, weights_path


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="FOLDER",
        type=weights_path,
        help="folder that diffmae finetune wrote, or a name on the Hugging Face hub",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        help="where to write the results (default: FOLDER/evaluation, or FOLDER/evaluation_ema with --ema)",
    )
    parser.add_argument("--ema", action="store_true", help="evaluate the moving average of the weights")
    parser.add_argument("--local_rank", help="set by the deepspeed launcher; LOCAL_RANK is read instead")
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="options that differ from the run's")
    args = parser.parse_intermixed_args()

    from diffmae_video.evaluation.evaluate_classifier import evaluate
    from diffmae_video.hub import check_own_folder

    name = "evaluation_ema" if args.ema else "evaluation"
    output = args.output or check_own_folder(args.checkpoint) / name
    figures = evaluate(args.checkpoint, args.options, output, args.ema)
    if figures is not None:
        print_result(figures, [output])
