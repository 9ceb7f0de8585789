"""Inpainted examples to look at: x0 predictions of several samples step by step, and MAE's, with scores."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffmae_video.config import load_config, recipe_of
from diffmae_video.data import Entry, denormalise, normalise, open_video
from diffmae_video.data.clip_sampler import ClipSampler
from diffmae_video.data.views import read_views
from diffmae_video.encoding.clips import to_frames
from diffmae_video.inpainting.metrics import gradient_ratio, psnr
from diffmae_video.inpainting.simple_fills import grey_fill, interpolated_fill, mean_fill
from diffmae_video.inpainting.tasks import TASKS
from diffmae_video.masks import Mask
from diffmae_video.models import Inpainting, PretrainingModel
from diffmae_video.randomness import random_state

# Tasks of the authors' project page, with ratios of our choice.
PICTURE_TASKS = ("random75", "center")
VIDEO_TASKS = (*PICTURE_TASKS, "random90", "future")
SAMPLES = 3  # of each masked clip
SAMPLER, STEPS = "dpm++", 10


class Source(NamedTuple):
    """A clip to mask and fill."""

    name: str  # shown with the example
    clip: Tensor  # uint8 [T, H, W, 3]; a picture is repeated in all frames
    is_picture: bool  # whether only the first frame counts


class Fill(NamedTuple):
    """A model's fill of a masked clip, step by step; an MAE has one step."""

    frames: np.ndarray  # uint8 [S, T, H, W, 3], the x0 prediction of each step, pasted into the clip
    psnr: list[float]  # of each step, over masked pixels, in dB
    gradient: list[float]  # energy of the spatial gradient over masked pixels, divided by the truth's
    seconds: float  # for all steps, on this machine


class Example(NamedTuple):
    """A masked clip and its fills."""

    task: str  # one of VIDEO_TASKS
    name: str  # the source's
    truth: np.ndarray  # uint8 [T, H, W, 3]; T is 1 for a picture
    given: np.ndarray  # the same with masked pixels in grey
    masked: np.ndarray  # bool [T, H, W]
    mean_psnr: float  # of the mean of the visible pixels, over masked pixels, in dB
    interpolation_psnr: float | None  # of linear interpolation in time; None for a picture
    timesteps: list[int]  # of the samples' S steps, T first
    samples: list[Fill]  # the model's
    mae: Fill | None  # the MAE's, if there is one


def read_sources(paths: Sequence[str | Path], checkpoint: Path, model: PretrainingModel) -> list[Source]:
    """Reads pictures, and one clip from the middle of each video, at the model's size.

    Frames are spaced as in the recipe beside the checkpoint, or by the config's defaults if there is none.

    Raises:
        VideoError: a file cannot be read.
    """
    recipe = recipe_of(checkpoint)
    data = load_config(recipe if recipe.is_file() else None).DATA
    frames, *size = model.clip_size
    clip_sampler = ClipSampler(frames, data.STRIDE, data.FPS)
    sources = []
    for path in map(Path, paths):
        with open_video(path, data.BACKEND) as video:
            clip = read_views(video, Entry(str(path)), clip_sampler, size, 1, 1)[0]
            is_picture = frames == 1 or video.num_frames == 1
        name = path.name.encode(errors="replace").decode()  # the file's name may be invalid Unicode
        sources.append(Source(name, clip, is_picture))
    return sources


def tasks_of(source: Source, model: PretrainingModel) -> tuple[str, ...]:
    """The tasks that a source is masked for; those about time make sense for videos only."""
    if source.is_picture:
        return PICTURE_TASKS
    return VIDEO_TASKS if model.grid[0] > 1 else VIDEO_TASKS[:-1]  # a single time step has no future


def count_examples(model: PretrainingModel, sources: Sequence[Source]) -> int:
    """The number of examples that :func:`inpaint_examples` yields."""
    return sum(len(tasks_of(source, model)) for source in sources)


def inpaint_examples(
    model: PretrainingModel, mae: PretrainingModel | None, sources: Sequence[Source], seed: int = 0
) -> Iterator[Example]:
    """Masks and fills sources, task by task, one example at a time.

    The encoder runs once for all samples of an example. Masks and noise depend on the seed and on the
    source's place in the list. A picture is masked alike in all frames, so that none reveals another.

    Args:
        model: a model that fills masked clips by sampling.
        mae: an MAE for the same clips and patches, or None.
    """
    device = next(model.parameters()).device
    for task in VIDEO_TASKS:
        for place, source in enumerate(sources):
            if task in tasks_of(source, model):
                mask = _draw_mask(task, source, model, seed + place).to(device)
                yield _inpaint(model, mae, source, task, mask, seed + place)


def _draw_mask(task: str, source: Source, model: PretrainingModel, seed: int) -> Mask:
    t, h, w = model.grid
    if not source.is_picture:
        return TASKS[task].draw((t, h, w), random_state(seed))
    return Mask.from_bool(TASKS[task].draw((1, h, w), random_state(seed)).to_bool().expand(-1, t, -1, -1))


def _inpaint(
    model: PretrainingModel,
    mae: PretrainingModel | None,
    source: Source,
    task: str,
    mask: Mask,
    seed: int,
) -> Example:
    assert model.timesteps is not None
    frames = 1 if source.is_picture else len(source.clip)
    clip = source.clip[None].to(mask.masked.device)
    truth = clip.movedim(-1, 1).float()[:, :, :frames] / 255  # [1, 3, T, H, W]
    masked = mask.to_pixels(model.patch)[:, :, :frames]

    def score(inpainter: PretrainingModel, result: Inpainting, seconds: float) -> list[Fill]:
        assert result.steps is not None
        fills = []
        for steps in result.steps[:, :, :, :frames].unbind(1):  # one sample's, [S, 3, T, H, W]
            pixels = denormalise(steps, inpainter.mean, inpainter.std).clamp(0, 1)
            gradients = [gradient_ratio(step[None], truth, masked) for step in pixels]
            psnrs = psnr(pixels, truth, masked).tolist()
            fills.append(Fill(to_frames(pixels), psnrs, gradients, seconds / result.steps.shape[1]))
        return fills

    started = time.perf_counter()
    result = model.inpaint(
        normalise(clip, model.mean, model.std),
        mask,
        sampler=SAMPLER,
        steps=min(STEPS, model.timesteps),
        seed=seed,
        return_steps=True,
        num_samples=SAMPLES,
    )
    samples = score(model, result, _seconds_since(started, clip.device))
    mae_fill = None
    if mae is not None:
        started = time.perf_counter()
        prediction = mae.inpaint(normalise(clip, mae.mean, mae.std), mask, return_steps=True)
        (mae_fill,) = score(mae, prediction, _seconds_since(started, clip.device))
    linear = psnr(interpolated_fill(truth, masked), truth, masked)
    return Example(
        task=task,
        name=source.name,
        truth=source.clip[:frames].numpy(),
        given=to_frames(grey_fill(truth, masked)[0]),
        masked=masked[0, 0].cpu().numpy(),
        mean_psnr=float(psnr(mean_fill(truth, masked), truth, masked)),
        interpolation_psnr=None if source.is_picture else float(linear),
        timesteps=result.timesteps,
        samples=samples,
        mae=mae_fill,
    )


def _seconds_since(started: float, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
