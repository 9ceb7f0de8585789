"""Features of videos and pictures by a frozen model, for probes and for whatever a user builds on them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from diffmae_video.build import view_dataset
from diffmae_video.config import load_config, recipe_of
from diffmae_video.data import Entry, Views, normalise, read_list
from diffmae_video.decoding.endings import IMAGE_ENDINGS, VIDEO_ENDINGS
from diffmae_video.errors import InputError
from diffmae_video.files import atomic_path, write_tensors
from diffmae_video.models import Backbone, Classifier, PixelGPT, load_backbone, load_model
from diffmae_video.models.pretrained import WEIGHTS
from diffmae_video.models.weights.files import read_config
from diffmae_video.runtime.progress import ProgressBar

ENDINGS = (".npz", ".safetensors")
# What a run says of its own data; which videos to look at, the user says.
NO_DATA = ("DATA.TRAIN", "", "DATA.VAL", "", "DATA.ROOT", "")


class Features(NamedTuple):
    """What a frozen model makes of n videos.

    Attributes:
        entries: the videos that could be read, in the order of their list.
        pooled: float32 [n, D].
        tokens: float32 [n, N, D], or None where they are not kept.
    """

    entries: list[Entry]
    pooled: Tensor
    tokens: Tensor | None


def write_features(
    checkpoint: str | Path,
    source: str | Path,
    output: str | Path,
    options: Sequence[Any] = (),
    views: tuple[int, int] = (1, 1),
    batch: int | None = None,
    keep_tokens: bool = False,
) -> str:
    """Writes the features of a list, folder or file; returns a line that says what was written.

    Args:
        checkpoint, options: see :func:`load_frozen`.
        output: .npz or .safetensors, see :func:`save_features`.
        views, batch, keep_tokens: see :func:`extract_features`; ``batch`` is EVALUATION.BATCH_SIZE by
            default.

    Raises:
        InputError: the checkpoint or the list cannot be read, an option is wrong, or all videos are bad.
    """
    output = Path(output)
    if output.suffix not in ENDINGS:
        raise InputError(f"{output}: the file of features ends in {' or '.join(ENDINGS)}")
    output.parent.mkdir(parents=True, exist_ok=True)  # or it is told now that it cannot be
    model, cfg = load_frozen(checkpoint, options)
    entries = find_entries(source, cfg)
    batch = cfg.EVALUATION.BATCH_SIZE if batch is None else batch
    found = extract_features(model, cfg, entries, views, batch, keep_tokens)
    features = found.pooled if found.tokens is None else found.tokens
    save_features(output, features, found.entries)
    shape, missing = " x ".join(map(str, features.shape)), len(entries) - len(found.entries)
    left_out = f"; {missing} of {len(entries)} could not be read and are left out" if missing else ""
    return f"{output}: features {shape}{left_out}"


def load_frozen(path: str | Path, options: Sequence[Any] = ()) -> tuple[Classifier | Backbone, CfgNode]:
    """A model for features, on the GPU if there is one, and how clips for it are sampled.

    That is said by the config.yaml of the run, if ``path`` is its folder or one of its checkpoints'; else
    by the defaults, with the model's own size, frames, mean and std. The run's lists do not count.

    Args:
        path: what :func:`~diffmae_video.models.weights.load_backbone.load_backbone` takes.
        options: KEY, VALUE, ... that differ. Another DATA.SIZE and DATA.NUM_FRAMES fit the encoder to
            them; MODEL.ENCODER.HEADS is for files that do not tell it, MODEL.IGPT.LAYER for iGPT's.

    Raises:
        InputError: the checkpoint cannot be read, or an option is wrong.
    """
    path = Path(path)
    folder = path.resolve() if path.is_dir() else path.resolve().parent
    about = read_config(folder)
    recipe = recipe_of(folder)
    is_run = "model" in about and recipe.is_file()
    cfg = load_config(recipe if is_run else None, [*NO_DATA, *options])
    model: Classifier | Backbone
    if about.get("model") == "Classifier" and (path.is_dir() or path.name == WEIGHTS):
        model = load_model(folder)
    else:
        size, frames = (
            value if is_run or key in options[::2] else None
            for key, value in (("DATA.SIZE", cfg.DATA.SIZE), ("DATA.NUM_FRAMES", cfg.DATA.NUM_FRAMES))
        )
        model = load_backbone(path, size, frames, cfg.MODEL.ENCODER.HEADS or None)
        if isinstance(model, PixelGPT):
            model.set_layer(cfg.MODEL.IGPT.LAYER)
    if not is_run:
        cfg = load_config(None, [*_own_options(model, about), *options])
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), cfg


def _own_options(model: Classifier | Backbone, about: dict[str, Any]) -> list[Any]:
    """What the model says of its clips, and its config.json: ours, or with timm's ``pretrained_cfg``."""
    encoder = model.recognition_part() if isinstance(model, Classifier) else model
    frames, *size = (n * side for n, side in zip(encoder.grid, encoder.patch, strict=True))
    options = ["DATA.NUM_FRAMES", frames, "DATA.SIZE", size]
    about = about.get("pretrained_cfg", about)
    for name in ("mean", "std"):
        if name in about:
            options += [f"DATA.{name.upper()}", about[name]]
    return options


def find_entries(source: str | Path, cfg: CfgNode) -> list[Entry]:
    """The entries of a list or folder, or the one of a video or picture.

    Raises:
        InputError: see :func:`~diffmae_video.data.read_list`.
    """
    path = Path(source)
    if path.is_file() and path.suffix.lower() in VIDEO_ENDINGS + IMAGE_ENDINGS:
        return [Entry(str(source))]
    return read_list(path, cfg.DATA.ROOT, images=cfg.DATA.NUM_FRAMES == 1)


@torch.no_grad()
def extract_features(
    model: nn.Module,
    cfg: CfgNode,
    entries: Sequence[Entry],
    views: tuple[int, int] = (1, 1),
    batch: int = 16,
    keep_tokens: bool = False,
) -> Features:
    """Features in float32, averaged over the views of a video; they end up on the CPU.

    ``pooled`` is the mean over the encoder's patch tokens, or what a classifier's head sees. A video
    that cannot be read is left out, with a line on stderr.

    Args:
        model, cfg: of :func:`load_frozen`; or any model of clips to tokens.
        views: clips over time, crops along the longer side.
        batch: clips per forward, at most.
        keep_tokens: keep the patch tokens as well, those of the same place averaged over the views.

    Raises:
        InputError: no video can be read, or features are not finite.
    """
    if min(*views, batch) < 1:
        raise InputError(f"views and the batch are 1 or more, got {views[0]},{views[1]} and {batch}")
    dataset = view_dataset(cfg, entries, *views, policy="skip")
    device, each = next(model.parameters()).device, views[0] * views[1]
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_size=max(1, batch // each),
        num_workers=min(cfg.DATA.WORKERS, os.cpu_count() or 1, len(entries)),
        collate_fn=_join,
        pin_memory=device.type == "cuda",
    )
    read: list[Entry] = []
    pooled: list[Tensor] = []
    tokens: list[Tensor] = []
    with ProgressBar(total=len(entries), desc="features", unit=" videos") as bar:
        for videos, clips, faults in loader:
            for fault in faults:
                tqdm.write(f"left out: {fault}", file=sys.stderr)
            for part in clips.split(batch):
                clip = normalise(part.to(device, non_blocking=True), cfg.DATA.MEAN, cfg.DATA.STD)
                of_part = model.encode(clip) if isinstance(model, Classifier) else model(clip)
                whole = model.features(clip) if isinstance(model, Classifier) else of_part.mean(1)
                pooled.append(whole.float().cpu())
                if keep_tokens:
                    tokens.append(of_part.float().cpu())
            read += [entries[video] for video in videos]
            bar.update(len(videos) + len(faults))
    dataset.decoder.stop()
    if not read:
        raise InputError(f"none of the {len(entries)} videos can be read, see above")
    found = Features(
        read, _mean_of_views(pooled, each), _mean_of_views(tokens, each) if keep_tokens else None
    )
    if not found.pooled.isfinite().all():
        raise InputError("features are not finite: the model's weights are broken; take another checkpoint")
    return found


def _join(views: Sequence[Views]) -> tuple[list[int], Tensor, list[str]]:
    """The places of the videos that were read, their clips uint8 [B, T, H, W, 3], and the faults."""
    videos = [x.video for x in views if not x.fault]
    return videos, torch.cat([x.clips for x in views]), [x.fault for x in views if x.fault]


def _mean_of_views(parts: Sequence[Tensor], each: int) -> Tensor:
    return torch.cat(list(parts)).unflatten(0, (-1, each)).mean(1)


def save_features(path: str | Path, features: Tensor, entries: Sequence[Entry]) -> None:
    """Writes features, [n, D] or [n, N, D], with the paths and labels of their videos.

    An .npz has the arrays ``features``, ``paths`` and ``labels`` (strings, empty where there is none); a
    .safetensors the tensor ``features``, and paths and labels as JSON lists in its metadata.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(path)
    paths, labels = [entry.path for entry in entries], [entry.label or "" for entry in entries]
    if path.suffix == ".npz":
        with atomic_path(path) as aside:
            np.savez(aside, features=features.numpy(), paths=np.array(paths), labels=np.array(labels))
    else:
        metadata = {"paths": json.dumps(paths), "labels": json.dumps(labels)}
        write_tensors(path, {"features": features}, metadata)
