"""Measures speed, relative to a peer or to the machine's own limit in the same run.

    python tools/benchmark.py train                                  ViT-B, 16 x 224 x 224, 90 %
    python tools/benchmark.py train TRAIN.PRECISION bf16 MODEL.DECODER.KIND cross_self
    python tools/benchmark.py train --compile
    python tools/benchmark.py sample                                 the demo's model: make demo
    python tools/benchmark.py sample --checkpoint DIR DATA.VAL list.csv
    python tools/benchmark.py data DATA.BACKEND decord               clips from files like Kinetics's

The last line of the output is one JSON object.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from diffmae_video import InputError, load_config
from diffmae_video.cli import run_tool, tool_parser

ROOT = Path(__file__).resolve().parent.parent
DEMO = Path("outputs/demo")


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("what", choices=("train", "sample", "data"))
    parser.add_argument("--compile", action="store_true", help="train: torch.compile the model")
    parser.add_argument("--checkpoint", metavar="DIR", type=Path, help="sample: a run's folder")
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="options that differ from the config")
    args = parser.parse_intermixed_args()

    if args.what == "train":
        from diffmae_video.benchmarks.training import train_speed

        result = train_speed(load_config(ROOT / "configs/bench/train.yaml", args.options), args.compile)
    elif args.what == "data":
        from diffmae_video.benchmarks.loading import data_speed
        from diffmae_video.studies.demo import shipped_clips

        cfg = load_config(ROOT / "configs/bench/data.yaml", args.options)
        with tempfile.TemporaryDirectory() as folder:
            result = data_speed(cfg, shipped_clips(), Path(folder))
    else:
        from diffmae_video.benchmarks.sampling import sample_speed

        folder = args.checkpoint or DEMO / "checkpoint"
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; run `make demo` or give --checkpoint")
        result = sample_speed(folder, args.options, DEMO / "lists/unseen_video.csv")
    print(json.dumps(result))


if __name__ == "__main__":
    run_tool(main)
