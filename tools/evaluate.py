"""Measures a fine-tuned classifier on a labelled list, on several views of each video.

    python tools/evaluate.py --checkpoint runs/finetune EVALUATION.VIEWS 5,3
    python tools/evaluate.py --checkpoint runs/finetune DATA.VAL lists/test.csv --output results/test
    python tools/evaluate.py --checkpoint runs/finetune/checkpoints/step_00001000 --ema
    torchrun --nproc_per_node 8 tools/evaluate.py --checkpoint FOLDER EVALUATION.VIEWS 7,3
    deepspeed --num_gpus 8 tools/evaluate.py --checkpoint FOLDER EVALUATION.POLICY skip

EVALUATION.VIEWS n,m: n clips spread evenly over a video, m crops of each along its longer side; their
logits are averaged. DATA.VAL's labels are matched to the model's classes by name. The scores are the
same on any number of processes. A video that cannot be read ends it (EVALUATION.POLICY fail), counts as
wrong (wrong) or is left out of the figures (skip).

Writes metrics.json, predictions.csv, per_class.csv, logits.safetensors and confusion.png. The last line of
output is one JSON object: top1, top5 (of fewer than 5 classes, all), ece (expected calibration error, 15
bins) and mean_class_accuracy, or map with several labels, all from 0 to 1; videos, unread, views; and
gflops_per_view and gflops (of all views), which count a multiply-accumulate as 1, as papers do.
"""

from __future__ import annotations

import json
from pathlib import Path

from diffmae_video.cli import run_tool, tool_parser


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument(
        "--checkpoint", required=True, metavar="FOLDER", type=Path, help="what tools/finetune.py wrote"
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        help="where to write (default: FOLDER/evaluation, or evaluation_ema)",
    )
    parser.add_argument("--ema", action="store_true", help="the moving average of the weights")
    parser.add_argument("--local_rank", help="set by the deepspeed launcher; LOCAL_RANK is read instead")
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="options that differ from the run's")
    args = parser.parse_intermixed_args()

    from diffmae_video.evaluation.evaluate import evaluate

    output = args.output or args.checkpoint / ("evaluation_ema" if args.ema else "evaluation")
    figures = evaluate(args.checkpoint, args.options, output, args.ema)
    if figures is not None:
        print(json.dumps(figures))


if __name__ == "__main__":
    run_tool(main)
