"""Fills held-out clips by every method and for every task, and scores the fills."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from diffmae_video.build import view_dataset
from diffmae_video.config import load_recipe
from diffmae_video.data import Entry, denormalise, normalise, read_list
from diffmae_video.data.lists import spread
from diffmae_video.data.views import view_batches
from diffmae_video.errors import InputError, require
from diffmae_video.inpainting.clip_scores import ClipScores
from diffmae_video.inpainting.fill_report import write_report
from diffmae_video.inpainting.frechet import FeatureModel, check_clips, frechet_distance
from diffmae_video.inpainting.lpips import load_lpips
from diffmae_video.inpainting.model_pair import load_pair
from diffmae_video.inpainting.posterior_mean import posterior_mean
from diffmae_video.inpainting.simple_fills import interpolated_fill, mean_fill, nearest_fill
from diffmae_video.inpainting.tasks import TASKS, check_tasks
from diffmae_video.masks import Mask
from diffmae_video.models import PretrainingModel
from diffmae_video.randomness import random_state
from diffmae_video.runtime.cpus import resolve_workers
from diffmae_video.runtime.device import default_device
from diffmae_video.runtime.progress import ProgressBar
from diffmae_video.tokens import Triple, grid_of


class MaskedBatch(NamedTuple):
    """Clips to fill."""

    clips: Tensor  # uint8 [B, T, H, W, 3]
    truth: Tensor  # the same as float [B, 3, T, H, W] in [0, 1]
    mask: Mask  # of the B clips
    masked: Tensor  # the masked pixels, bool [B, 1, T, H, W]
    seed: int  # seeds the noise


class FillMethod(NamedTuple):
    """A method to fill masked clips."""

    name: str  # one of FILLS
    steps: int | None  # sampling steps, for a model that samples
    passes: int  # forward passes of a model, by which progress is counted
    # turns a batch into clips [B, 3, T, H, W] in [0, 1]; visible pixels of the result are ignored
    fill: Callable[[MaskedBatch], Tensor]


def evaluate_inpainting(
    checkpoint: Path,
    output: Path,
    options: Sequence[Any],
    *,
    mae: Path | None,
    steps: Sequence[int],
    mean_samples: int,
    tasks: Sequence[str],
    clips: int,
    seed: int,
    lpips: bool,
    lpips_weights: Path | None,
    features: Path | None,
    precision: str,
) -> tuple[dict[str, Any], str]:
    """Fills clips of DATA.VAL by every method and for every task, and writes a report of the scores.

    Clips are spread evenly over the list and over each video, sampled as in the recipe, and filled in
    float32, EVALUATION.BATCH_SIZE at a time. A video that cannot be read is left out, with a line on stderr.
    Masks depend on the seed and on the clip; noise depends on the batch too.

    Args:
        checkpoint: folder of a model that samples, with the run's config.yaml.
        output: folder of the report, created before the clips are filled.
        options: ``[KEY, VALUE, ...]`` that replace the recipe's.
        mae: folder of an MAE for clips of the same size and patch, to compare with; or None.
        steps: numbers of sampling steps (DDIM).
        mean_samples: samples whose mean is a further fill, for each number of steps above 1; 0 leaves it out.
        tasks: names from ``TASKS``; empty for all that the model's clips allow.
        clips: how many clips to fill; rounded up, so that each video gives as many.
        seed: seeds masks and noise.
        lpips, lpips_weights: whether to compute LPIPS, and AlexNet's weights, which imply it; see
            :func:`~diffmae_video.inpainting.lpips.load_lpips`.
        features: weights of a network for the Fréchet distance, or None; see
            :class:`~diffmae_video.inpainting.frechet.FeatureModel`.
        precision: of the models' weights, see :func:`~diffmae_video.runtime.device.sampling_dtype`.

    Returns:
        The result, and its tables as Markdown. The result has the number of ``clips``, their ``size``
        [T, H, W], ``seed``, and ``rows``, each with ``task``, ``fill``, ``steps``, the scores of
        :meth:`~diffmae_video.inpainting.clip_scores.ClipScores.result`, and ``frechet`` (None if too many
        videos could not be read).

    Raises:
        InputError: a folder, the recipe, the list, a task or a number of steps is wrong.
        MissingExtraError: torchmetrics or matplotlib is not installed.
    """
    for module in ("torchmetrics", "matplotlib"):  # fail before the work
        require(module, "metrics")
    if clips < 1 or seed < 0:
        raise InputError(f"--clips must be at least 1 and --seed at least 0, got {clips} and {seed}")
    if mean_samples < 0 or mean_samples == 1:
        raise InputError(f"--mean-samples must be 0 or at least 2, got {mean_samples}")
    cfg = load_recipe(checkpoint, options)
    if not cfg.DATA.VAL:
        raise InputError("DATA.VAL: give a list or a folder of held-out videos, say DATA.VAL val.csv")
    model, other = load_pair(checkpoint, mae, precision)
    size, patch, device = (cfg.DATA.NUM_FRAMES, *cfg.DATA.SIZE), model.patch, default_device()
    grid = grid_of(size, patch)
    methods = fill_methods(model, other, steps, mean_samples, is_video=size[0] > 1)
    tasks = list(dict.fromkeys(tasks)) or [name for name in TASKS if name != "future" or grid[0] > 1]
    check_tasks(tasks, grid)
    entries = spread(read_list(cfg.DATA.VAL, cfg.DATA.ROOT, images=size[0] == 1), clips)
    per_entry = math.ceil(clips / len(entries)) if size[0] > 1 else 1  # all clips of a picture are the same
    perceptual, feature_model = None, None
    if lpips or lpips_weights is not None:
        perceptual = load_lpips(lpips_weights, size[1:]).to(device)
    if features is not None:
        feature_model = FeatureModel(features, size[0], size[1:])
        check_clips(per_entry * len(entries), feature_model.width)
    output.mkdir(parents=True, exist_ok=True)

    scores = {
        (task, method): ClipScores(patch, perceptual, feature_model) for task in tasks for method in methods
    }
    true_features: list[Tensor] = []
    count, passes = 0, sum(method.passes for method in methods) * len(tasks)
    with (
        torch.no_grad(),
        ProgressBar(total=passes * per_entry * len(entries), desc="inpainting", unit=" passes") as bar,
    ):
        for pixels in read_batches(cfg, entries, per_entry):
            if feature_model is not None:
                true_features.append(feature_model(pixels.to(device).movedim(-1, 1).float() / 255))
            for task in tasks:
                batch = mask_batch(pixels.to(device), task, grid, patch, seed, count)
                for method in methods:
                    fill = torch.where(batch.masked, method.fill(batch), batch.truth)
                    scores[task, method].add(fill, batch.truth, batch.mask)
                    bar.update(method.passes * len(pixels))
            count += len(pixels)
    if not count:
        raise InputError(f"{cfg.DATA.VAL}: none of the videos can be read; see the lines above")
    rows = []
    for (task, method), gathered in scores.items():
        row = {"task": task, "fill": method.name, "steps": method.steps, **gathered.result()}
        if feature_model is not None:
            both = torch.cat(gathered.features), torch.cat(true_features)
            row["frechet"] = frechet_distance(*both) if count > feature_model.width else None
        rows.append(row)
    result = {"clips": count, "size": list(size), "seed": seed, "rows": rows}
    return result, write_report(result, output)


def fill_methods(
    model: PretrainingModel,
    mae: PretrainingModel | None,
    steps: Sequence[int],
    mean_samples: int,
    is_video: bool,
) -> list[FillMethod]:
    """The fills without a model, the MAE's, and the model's samples and their means by number of steps.

    Raises:
        InputError: a number of steps is outside the model's schedule.
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
        methods.append(FillMethod("mae", None, 1, partial(_fill_by_model, mae, 1)))
    for n in sorted(set(steps)):
        model.sampling_timesteps(n)  # fails now if the schedule has fewer steps
        methods.append(FillMethod("diffmae", n, n, partial(_fill_by_model, model, n)))
    for n in sorted(set(steps)) if mean_samples else ():
        if n > 1:
            fill = partial(_fill_by_mean, model, n, mean_samples)
            methods.append(FillMethod("posterior_mean", n, n * mean_samples, fill))
    return methods


def _fill_by_model(model: PretrainingModel, steps: int, batch: MaskedBatch) -> Tensor:
    clip = normalise(batch.clips, model.mean, model.std)
    filled = model.inpaint(clip, batch.mask, sampler="ddim", steps=steps, seed=batch.seed).clip
    return denormalise(filled, model.mean, model.std).clamp(0, 1)


def _fill_by_mean(model: PretrainingModel, steps: int, samples: int, batch: MaskedBatch) -> Tensor:
    clip = normalise(batch.clips, model.mean, model.std)
    filled = posterior_mean(model, clip, batch.mask, samples, steps, batch.seed)
    return denormalise(filled, model.mean, model.std).clamp(0, 1)


def read_batches(cfg: CfgNode, entries: Sequence[Entry], per_entry: int) -> Iterator[Tensor]:
    """Reads ``per_entry`` clips of each entry: uint8 [B, T, H, W, 3], B at most EVALUATION.BATCH_SIZE."""
    dataset, batch_size = view_dataset(cfg, entries, per_entry, policy="skip"), cfg.EVALUATION.BATCH_SIZE
    workers = resolve_workers(cfg.DATA.WORKERS, default_device())
    for _, clips, _ in view_batches(dataset, batch_size, workers):
        if len(clips):
            yield from clips.split(batch_size)


def mask_batch(clips: Tensor, task: str, grid: Triple, patch: Triple, seed: int, first: int) -> MaskedBatch:
    """Masks clips, uint8 [B, T, H, W, 3], for a task.

    Args:
        first: the number of the first clip among all clips that are evaluated.
    """
    masks = [TASKS[task].draw(grid, random_state(seed, first + i)) for i in range(len(clips))]
    mask = Mask.cat(masks).to(clips.device)
    return MaskedBatch(clips, clips.movedim(-1, 1).float() / 255, mask, mask.to_pixels(patch), seed + first)
