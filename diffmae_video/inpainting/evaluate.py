"""Fills of held-out clips side by side: tasks, methods to fill, and the figures of each pair."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from fvcore.common.config import CfgNode
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from diffmae_video.build import view_dataset
from diffmae_video.config import load_recipe
from diffmae_video.data import Views, denormalise, normalise, read_list
from diffmae_video.data.lists import spread
from diffmae_video.errors import InputError, require
from diffmae_video.inpainting.clip_scores import ClipScores
from diffmae_video.inpainting.frechet import FeatureModel, check_clips, frechet_distance
from diffmae_video.inpainting.lpips import load_lpips
from diffmae_video.inpainting.simple_fills import interpolated_fill, mean_fill, nearest_fill
from diffmae_video.inpainting.tasks import TASKS, check_tasks
from diffmae_video.masks import Mask
from diffmae_video.models import MAE, DiffMAE, PretrainingModel, load_model
from diffmae_video.randomness import random_state
from diffmae_video.runtime.progress import ProgressBar
from diffmae_video.tokens import Triple, grid_of

Model = TypeVar("Model", bound=PretrainingModel)


class MaskedBatch(NamedTuple):
    """What is to be filled.

    Attributes:
        clips: uint8 [B, T, H, W, 3].
        truth: the same as float [B, 3, T, H, W] in [0, 1].
        mask, masked: of the B clips; bool [B, 1, T, H, W].
        seed: of the noise.
    """

    clips: Tensor
    truth: Tensor
    mask: Mask
    masked: Tensor
    seed: int


class FillMethod(NamedTuple):
    """A method to fill.

    Attributes:
        name, steps: of it; steps of sampling are DiffMAE's alone.
        passes: of a model, what it costs.
        fill: a batch to clips [B, 3, T, H, W] in [0, 1]; what it gives at visible places is not looked at.
    """

    name: str
    steps: int | None
    passes: int
    fill: Callable[[MaskedBatch], Tensor]


def evaluate_inpainting(
    checkpoint: Path,
    output: Path,
    options: Sequence[Any] = (),
    mae: Path | None = None,
    steps: Sequence[int] = (1, 10, 50),
    tasks: Sequence[str] = (),
    clips: int = 64,
    seed: int = 0,
    lpips: bool = False,
    lpips_weights: Path | None = None,
    features: Path | None = None,
) -> dict[str, Any]:
    """Fills clips of DATA.VAL in every method, for every task, and measures them. In float32.

    Clips are spread evenly over the list and its videos, as the recipe samples them, EVALUATION.BATCH_SIZE
    at a time. A video that cannot be read is left out, with a line on stderr. Masks depend on the seed and
    the clip, noise on the batch too.

    Args:
        checkpoint: of a DiffMAE, with the run's config.yaml.
        output: a folder for the report, made before the work: if it cannot be, that is told now.
        options: in place of the recipe's, ``[KEY, VALUE, ...]``.
        mae: folder of an MAE of the same patch, to fill as well.
        steps: of DiffMAE's sampling (DDIM).
        tasks: of ``TASKS``; by default all that the model's clips allow.
        clips: or a few more, the same number of each video.
        lpips, lpips_weights: measure LPIPS too, with these weights of AlexNet; see
            :func:`~diffmae_video.inpainting.perceptual.load_lpips`.
        features: of a model, to measure the Fréchet distance by it; see
            :class:`~diffmae_video.inpainting.perceptual.FeatureModel`.

    Returns:
        ``clips`` that were filled, their ``size`` [T, H, W], ``seed``, and ``rows``: ``task``, ``fill``,
        ``steps`` and the figures of :meth:`~diffmae_video.inpainting.clip_scores.ClipScores.result`, and
        ``frechet``.

    Raises:
        InputError: a folder, the recipe, the list, a task or a number of steps is not what is needed.
    """
    for module in ("torchmetrics", "matplotlib"):  # told now; the report needs the latter
        require(module, "metrics")
    cfg = load_recipe(checkpoint, options)
    if not cfg.DATA.VAL:
        raise InputError("DATA.VAL: give a list or a folder of held-out videos, say DATA.VAL val.csv")
    if clips < 1 or seed < 0:
        raise InputError(f"clips are 1 or more and the seed 0 or more, got {clips} and {seed}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = load_inpainter(checkpoint, DiffMAE).to(device)
    size, patch = (cfg.DATA.NUM_FRAMES, *cfg.DATA.SIZE), model.patch
    grid = grid_of(size, patch)
    other = None if mae is None else load_inpainter(mae, MAE).to(device)
    if other is not None and other.patch != patch:
        raise InputError(f"{mae}: its patches are {other.patch} and those of {checkpoint} {patch}")
    methods = fill_methods(model, other, steps, is_video=size[0] > 1)
    tasks = list(dict.fromkeys(tasks)) or [name for name in TASKS if name != "future" or grid[0] > 1]
    check_tasks(tasks, grid)
    entries = spread(read_list(cfg.DATA.VAL, cfg.DATA.ROOT, images=size[0] == 1), clips)
    each = math.ceil(clips / len(entries)) if size[0] > 1 else 1  # an image's clips are all the same
    perceptual, network = None, None
    if lpips or lpips_weights is not None:
        perceptual = load_lpips(lpips_weights, size[1:]).to(device)
    if features is not None:
        network = FeatureModel(features, size[0], size[1:])
        check_clips(each * len(entries), network.width)
    output.mkdir(parents=True, exist_ok=True)

    figures = {(task, method): ClipScores(patch, perceptual, network) for task in tasks for method in methods}
    of_truth: list[Tensor] = []
    count, passes = 0, sum(method.passes for method in methods) * len(tasks)
    with (
        torch.no_grad(),
        ProgressBar(total=passes * each * len(entries), desc="inpainting", unit=" passes") as bar,
    ):
        for pixels in read_batches(cfg, entries, each):
            if network is not None:
                of_truth.append(network(pixels.to(device).movedim(-1, 1).float() / 255))
            for task in tasks:
                batch = make_batch(pixels.to(device), task, grid, patch, seed, count)
                for method in methods:
                    fill = torch.where(batch.masked, method.fill(batch), batch.truth)
                    figures[task, method].add(fill, batch.truth, batch.mask)
                    bar.update(method.passes * len(pixels))
            count += len(pixels)
    if not count:
        raise InputError(f"{cfg.DATA.VAL}: none of its videos can be read, see above")
    rows = []
    for (task, method), found in figures.items():
        row = {"task": task, "fill": method.name, "steps": method.steps, **found.result()}
        if network is not None:
            is_enough = count > network.width
            both = torch.cat(found.features), torch.cat(of_truth)
            row["frechet"] = frechet_distance(*both) if is_enough else None  # some could not be read
        rows.append(row)
    return {"clips": count, "size": list(size), "seed": seed, "rows": rows}


def load_inpainter(folder: Path, kind: type[Model]) -> Model:
    """The model of a folder, which must be of a kind and able to render.

    Raises:
        InputError: it is not, or cannot be read.
    """
    model = load_model(folder)
    if not isinstance(model, kind):
        raise InputError(
            f"{folder}: holds the model {type(model).__name__}; give the folder of a {kind.__name__}"
        )
    if model.normalize_target:
        raise InputError(f"{folder}: predicts patches normalised one by one, which cannot be rendered")
    return model


def fill_methods(model: DiffMAE, mae: MAE | None, steps: Sequence[int], is_video: bool) -> list[FillMethod]:
    """The fills without a model (between frames of clips only), the MAE's, and DiffMAE's by steps.

    Raises:
        InputError: DiffMAE has no such number of steps.
    """
    methods = [
        FillMethod("mean", None, 0, lambda batch: mean_fill(batch.truth, batch.masked)),
        FillMethod("nearest", None, 0, lambda batch: nearest_fill(batch.truth, batch.mask, model.patch)),
    ]
    if is_video:
        methods.append(
            FillMethod("interpolation", None, 0, lambda batch: interpolated_fill(batch.truth, batch.masked))
        )
    if mae is not None:
        methods.append(FillMethod("mae", None, 1, partial(_fill_by, mae, 1)))
    for n in sorted(set(steps)):
        model.schedule.sampling_timesteps(n)  # refuses what it does not have
        methods.append(FillMethod("diffmae", n, n, partial(_fill_by, model, n)))
    return methods


def _fill_by(model: PretrainingModel, steps: int, batch: MaskedBatch) -> Tensor:
    clip = normalise(batch.clips, model.mean, model.std)
    filled = model.inpaint(clip, batch.mask, steps=steps, seed=batch.seed).clip
    return denormalise(filled, model.mean, model.std).clamp(0, 1)


def read_batches(cfg: CfgNode, entries: Sequence[Any], each: int) -> Iterator[Tensor]:
    """Clips of entries, ``each`` of one: uint8 [B, T, H, W, 3], B at most EVALUATION.BATCH_SIZE."""
    dataset, batch = view_dataset(cfg, entries, each, policy="skip"), cfg.EVALUATION.BATCH_SIZE
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_size=max(1, batch // each),
        num_workers=min(cfg.DATA.WORKERS, os.cpu_count() or 1, len(entries)),
        collate_fn=_join,
    )
    for clips, faults in loader:
        for fault in faults:
            tqdm.write(f"left out: {fault}", file=sys.stderr)
        if len(clips):
            yield from clips.split(batch)
    dataset.decoder.stop()


def _join(views: Sequence[Views]) -> tuple[Tensor, list[str]]:
    return torch.cat([x.clips for x in views]), [x.fault for x in views if x.fault]


def make_batch(clips: Tensor, task: str, grid: Triple, patch: Triple, seed: int, first: int) -> MaskedBatch:
    """A task on clips uint8 [B, T, H, W, 3], of which the first is number ``first`` of all."""
    masks = [TASKS[task].draw(grid, random_state(seed, first + i)) for i in range(len(clips))]
    mask = Mask.cat(masks).to(clips.device)
    return MaskedBatch(clips, clips.movedim(-1, 1).float() / 255, mask, mask.to_pixels(patch), seed + first)
