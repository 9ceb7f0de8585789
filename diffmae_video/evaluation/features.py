"""Extracts the features of videos and pictures with a frozen model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffmae_video.build import view_dataset
from diffmae_video.data import Entry, read_list
from diffmae_video.data.views import view_batches
from diffmae_video.decoding.file_types import IMAGE_ENDINGS, VIDEO_ENDINGS
from diffmae_video.errors import InputError
from diffmae_video.files import atomic_path, write_tensors
from diffmae_video.frozen_model import FrozenModel, load_frozen
from diffmae_video.runtime.cpus import resolve_workers
from diffmae_video.runtime.progress import ProgressBar

ENDINGS = (".npz", ".safetensors")


class Features(NamedTuple):
    """The features of n videos."""

    entries: list[Entry]  # the videos that could be read, in the order of their list
    pooled: Tensor  # float32 [n, D]
    tokens: Tensor | None  # float32 [n, N, D], or None if they were not kept


def write_features(
    checkpoint: str | Path,
    source: str | Path,
    output: str | Path,
    options: Sequence[Any] = (),
    views: tuple[int, int] = (1, 1),
    batch: int | None = None,
    keep_tokens: bool = False,
) -> str:
    """Writes the features of a list, folder or file, and returns a line that describes what was written.

    Args:
        checkpoint, options: see :func:`~diffmae_video.frozen_model.load_frozen`.
        source: a list, a folder, or one video or picture.
        output: .npz or .safetensors, see :func:`save_features`.
        views, keep_tokens: see :func:`extract_features`.
        batch: clips of one forward pass; None takes EVALUATION.BATCH_SIZE.

    Raises:
        InputError: the checkpoint or the list cannot be read, an option is wrong, or no video can be read.
    """
    output = Path(output)
    if output.suffix not in ENDINGS:
        raise InputError(f"{output}: features are written to a file that ends in {' or '.join(ENDINGS)}")
    output.parent.mkdir(parents=True, exist_ok=True)  # fails before the work, not after it
    frozen = load_frozen(checkpoint, options)
    data = frozen.cfg.DATA
    entries = find_entries(source, data.ROOT, images=data.NUM_FRAMES == 1)
    batch = frozen.cfg.EVALUATION.BATCH_SIZE if batch is None else batch
    result = extract_features(frozen, entries, batch, views, keep_tokens)
    features = result.pooled if result.tokens is None else result.tokens
    save_features(output, features, result.entries)
    shape, unread = " x ".join(map(str, features.shape)), len(entries) - len(result.entries)
    left_out = f"; {unread} of {len(entries)} could not be read and are left out" if unread else ""
    return f"{output}: features {shape}{left_out}"


def find_entries(source: str | Path, root: str, images: bool) -> list[Entry]:
    """The entries of a list or folder, or a single entry for a video or picture.

    Other arguments and errors are those of :func:`~diffmae_video.data.read_list`.
    """
    path = Path(source)
    if path.is_file() and path.suffix.lower() in VIDEO_ENDINGS + IMAGE_ENDINGS:
        return [Entry(str(source))]
    return read_list(path, root, images=images)


def extract_features(
    frozen: FrozenModel,
    entries: Sequence[Entry],
    batch: int,
    views: tuple[int, int] = (1, 1),
    keep_tokens: bool = False,
) -> Features:
    """Features in float32 on the CPU, averaged over a video's views.

    A video that cannot be read is left out, with a line on stderr.

    Args:
        batch: the most clips of one forward pass.
        views: clips spread evenly over the video, and crops of each along its longer side.
        keep_tokens: keep the patch tokens too, averaged over the views.

    Raises:
        InputError: no video can be read, or the features are not finite.
    """
    if min(*views, batch) < 1:
        raise InputError(f"views and batch must be 1 or more, got views {views[0]},{views[1]}, batch {batch}")
    dataset = view_dataset(frozen.cfg, entries, *views, policy="skip")
    per_video = views[0] * views[1]
    workers = resolve_workers(frozen.cfg.DATA.WORKERS, frozen.device)
    batches = view_batches(dataset, batch, workers, pin_memory=frozen.device.type == "cuda")
    read: list[Entry] = []
    pooled: list[Tensor] = []
    tokens: list[Tensor] = []
    with ProgressBar(total=len(entries), desc="features", unit=" videos") as bar:
        for videos, clips, faults in batches:
            for part in clips.split(batch) if len(clips) else ():  # none if no video could be read
                part_tokens, part_pooled = frozen.tokens_and_features(part)
                pooled.append(part_pooled.cpu())
                if keep_tokens:
                    tokens.append(part_tokens.cpu())
            read += [entries[video] for video in videos]
            bar.update(len(videos) + len(faults))
    if not read:
        raise InputError(f"none of the {len(entries)} videos can be read; see the lines above")
    mean_pooled = _mean_over_views(pooled, per_video)
    if not mean_pooled.isfinite().all():
        raise InputError("the features are not finite, so the weights are broken; take another checkpoint")
    return Features(read, mean_pooled, _mean_over_views(tokens, per_video) if keep_tokens else None)


def _mean_over_views(parts: Sequence[Tensor], per_video: int) -> Tensor:
    return torch.cat(list(parts)).unflatten(0, (-1, per_video)).mean(1)


def save_features(path: str | Path, features: Tensor, entries: Sequence[Entry]) -> None:
    """Writes features, [n, D] or [n, N, D], with the paths and labels of their videos.

    An .npz file has the arrays ``features``, ``paths`` and ``labels`` (strings, empty where there is no
    label). A .safetensors file has the tensor ``features``, and paths and labels as JSON lists in its
    metadata.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    paths, labels = [entry.path for entry in entries], [entry.label or "" for entry in entries]
    if path.suffix == ".safetensors":
        metadata = {"paths": json.dumps(paths), "labels": json.dumps(labels)}
        write_tensors(path, {"features": features}, metadata)
        return
    with atomic_path(path) as aside:
        np.savez(aside, features=features.numpy(), paths=np.array(paths), labels=np.array(labels))
