"""Measures speed, relative to a peer or to the machine's own limit in the same run.

    diffmae benchmark train                                  ViT-B, 16 x 224 x 224, 90 %
    diffmae benchmark train TRAIN.PRECISION bf16 MODEL.DECODER.KIND cross_self
    diffmae benchmark train --compile
    diffmae benchmark sample                                 the demo's model: make demo
    diffmae benchmark sample --checkpoint DIR DATA.VAL list.csv
    diffmae benchmark data DATA.BACKEND decord               clips from files like Kinetics's
    diffmae benchmark gpu --minutes 6 --output DIR           everything that a GPU can show, docs/gpu.md

On a GPU "train" measures the steps of a bare loop, of a training run and of Hugging Face's VideoMAE, without
and with torch.compile, and prints each as soon as it is known; --compile has no effect there. "gpu" writes
figures.jsonl and figures.md. Prints the figures; if the output is not a terminal, as one JSON object in its
last line.
"""

import tempfile
from pathlib import Path
from typing import Any

from diffmae_video import InputError, load_config
from diffmae_video.cli import add_precision, print_result, tool_parser, weights_path

DEMO = Path("outputs/demo")


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("what", choices=("train", "sample", "data", "gpu"))
    parser.add_argument("--compile", action="store_true", help="train: torch.compile the model")
    parser.add_argument(
        "--checkpoint",
        metavar="DIR",
        type=weights_path,
        help="sample: a run's folder, or a name on the Hugging Face hub",
    )
    add_precision(parser)
    parser.add_argument(
        "--minutes", type=float, default=6.0, metavar="M", help="gpu: start nothing after this (default: 6)"
    )
    parser.add_argument(
        "--output", metavar="DIR", type=Path, default=Path("outputs/gpu"), help="gpu: (default: outputs/gpu)"
    )
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="options that differ from the config")
    args = parser.parse_intermixed_args()
    if args.minutes <= 0:
        raise InputError("--minutes must be above 0")

    if args.what == "train":
        result = _train(args.options, args.compile)
    elif args.what == "data":
        from diffmae_video.benchmarks.loading import data_speed
        from diffmae_video.studies.demo import shipped_clips

        cfg = load_config("bench/data", args.options)
        with tempfile.TemporaryDirectory() as folder:
            result = data_speed(cfg, shipped_clips(), Path(folder))
    elif args.what == "gpu":
        from diffmae_video.benchmarks.gpu import measure_gpu
        from diffmae_video.studies.demo import shipped_clips

        try:
            sources = shipped_clips()
        except InputError:
            sources = []
        result = measure_gpu(args.options, args.output, args.minutes, sources)
    else:
        from diffmae_video.benchmarks.sampling import sample_speed

        checkpoint = args.checkpoint or DEMO / "checkpoint"
        if not checkpoint.is_dir():
            raise InputError(f"{checkpoint}: no such folder; run `make demo` or give --checkpoint")
        result = sample_speed(checkpoint, args.options, DEMO / "lists/unseen_video.csv", args.precision)
    print_result(result, [args.output] if args.what == "gpu" else [], args.what == "gpu")


def _train(options: list[Any], compiled: bool) -> dict[str, Any]:
    from diffmae_video.benchmarks.training import train_speed, train_speed_on_gpu
    from diffmae_video.runtime.device import default_device

    if default_device().type == "cuda":
        return train_speed_on_gpu(load_config("bench/gpu", options))
    return train_speed(load_config("bench/train", options), compiled)
