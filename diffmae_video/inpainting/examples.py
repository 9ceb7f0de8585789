"""Inpainted examples to look at: every x0 prediction of several samples, and MAE's, with their figures."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffmae_video.config import load_config, recipe_of
from diffmae_video.data import Entry, denormalise, normalise, open_video
from diffmae_video.data.clip_sampler import ClipSampler
from diffmae_video.data.views import read_views
from diffmae_video.decoding.endings import IMAGE_ENDINGS
from diffmae_video.encoding.clips import to_frames
from diffmae_video.errors import InputError
from diffmae_video.inpainting.metrics import gradient_ratio, psnr
from diffmae_video.inpainting.simple_fills import grey_fill, mean_fill
from diffmae_video.inpainting.tasks import TASKS
from diffmae_video.masks import Mask
from diffmae_video.models import MAE, DiffMAE, Inpainting, PretrainingModel
from diffmae_video.randomness import random_state
from diffmae_video.tokens import gather_tokens, patchify

# Random patches, the centre, video as on the authors' page, prediction of the future; our choice of shares.
PICTURE_TASKS = ("random75", "center")
VIDEO_TASKS = (*PICTURE_TASKS, "random90", "future")
SAMPLES = 3  # of each masked clip
SAMPLER, STEPS = "dpm++", 10  # all of its steps are shown
TIMESTEPS = 20  # of the loss curve


class Source(NamedTuple):
    """What is to be masked and filled.

    Attributes:
        name: to show.
        clip: uint8 [T, H, W, 3]; a picture's frames are all the same.
        is_picture: only its first frame is looked at.
    """

    name: str
    clip: Tensor
    is_picture: bool


class Fill(NamedTuple):
    """What a model made of a masked clip, step by step; MAE has one step.

    Attributes:
        frames: uint8 [S, T, H, W, 3], the x0 prediction of each step, pasted into the clip.
        psnr: of each step, on masked pixels, in dB.
        gradient: energy of the spatial gradient over the truth's, there.
        seconds: of all steps, on this machine.
    """

    frames: np.ndarray
    psnr: list[float]
    gradient: list[float]
    seconds: float


class Example(NamedTuple):
    """A clip, what was hidden of it, and the fills.

    Attributes:
        task: one of ``VIDEO_TASKS``.
        name: of the source.
        truth: uint8 [T, H, W, 3]; T is 1 for a picture.
        given: the same with what is hidden in grey.
        masked: bool [T, H, W].
        mean_psnr: of the mean of the visible pixels, on masked pixels, in dB.
        timesteps: of the samples' S steps, T first.
        samples: by DiffMAE.
        mae: by MAE, where there is one.
    """

    task: str
    name: str
    truth: np.ndarray
    given: np.ndarray
    masked: np.ndarray
    mean_psnr: float
    timesteps: list[int]
    samples: list[Fill]
    mae: Fill | None


class LossCurve(NamedTuple):
    """The training loss, apart for each timestep.

    Attributes:
        timesteps: ascending, from 1 to T.
        losses: mean squared error of normalised pixels.
        mae: of MAE's prediction on the same masks; None where there is none.
    """

    timesteps: list[int]
    losses: list[float]
    mae: float | None


def read_sources(paths: Sequence[str | Path], checkpoint: Path, model: Any) -> list[Source]:
    """One clip from the middle of each video, and pictures, at the size of a model.

    Frames are as far apart as in the recipe beside the checkpoint, or where there is none as the
    configuration's defaults say.

    Raises:
        VideoError: a file cannot be read.
    """
    recipe = recipe_of(checkpoint)
    data = load_config(recipe if recipe.is_file() else None).DATA
    frames, *size = clip_size(model)
    sources = []
    for path in map(Path, paths):
        with open_video(str(path), data.BACKEND) as video:
            clip = read_views(
                video, Entry(str(path)), ClipSampler(frames, data.STRIDE, data.FPS), size, 1, 1
            )[0]
        name = path.name.encode(errors="replace").decode()  # a name on disk need not be Unicode
        sources.append(Source(name, clip, frames == 1 or path.suffix.lower() in IMAGE_ENDINGS))
    return sources


def clip_size(model: Any) -> tuple[int, int, int]:
    """(frames, height, width) of the clips of a model of any objective."""
    (t, h, w), (a, p, q) = model.grid, model.patch
    return t * a, h * p, w * q


def check_pair(model: DiffMAE, mae: MAE) -> None:
    """Refuses an MAE that cannot be shown the same masked clips.

    Raises:
        InputError: its clips or patches have another size.
    """
    sizes = [(clip_size(m), m.patch) for m in (model, mae)]
    if sizes[0] != sizes[1]:
        (ours, patch), (theirs, other) = sizes
        raise InputError(
            f"the MAE takes clips of {list(theirs)} in patches of {list(other)}, and the DiffMAE "
            f"{list(ours)} in {list(patch)}; give models of the same clips and patches"
        )


def tasks_of(source: Source, model: PretrainingModel) -> tuple[str, ...]:
    """What is asked of a source: of pictures not what is about time."""
    if source.is_picture:
        return PICTURE_TASKS
    return VIDEO_TASKS if model.grid[0] > 1 else VIDEO_TASKS[:-1]  # no future in one time step


def count_examples(model: DiffMAE, sources: Sequence[Source]) -> int:
    """How many examples :func:`inpaint_examples` gives."""
    return sum(len(tasks_of(source, model)) for source in sources)


def inpaint_examples(
    model: DiffMAE, mae: MAE | None, sources: Sequence[Source], seed: int = 0
) -> Iterator[Example]:
    """Masks and fills sources, task by task, one example at a time.

    The encoder runs once for an example's samples. Masks and noise depend on the seed and on the source's
    place. What is hidden of a picture is hidden in all of its frames: none shows what another hides.
    """
    device = next(model.parameters()).device
    for task in VIDEO_TASKS:
        for place, source in enumerate(sources):
            if task in tasks_of(source, model):
                mask = _draw(task, source, model, seed + place).to(device)
                yield _inpaint(model, mae, source, task, mask, seed + place)


def _draw(task: str, source: Source, model: DiffMAE, seed: int) -> Mask:
    t, h, w = model.grid
    if not source.is_picture:
        return TASKS[task].draw((t, h, w), random_state(seed))
    return Mask.from_bool(TASKS[task].draw((1, h, w), random_state(seed)).to_bool().expand(-1, t, -1, -1))


def _inpaint(model: DiffMAE, mae: MAE | None, source: Source, task: str, mask: Mask, seed: int) -> Example:
    frames = 1 if source.is_picture else len(source.clip)
    clip = source.clip[None].to(mask.masked.device)
    truth = clip.movedim(-1, 1).float()[:, :, :frames] / 255  # [1, 3, T, H, W]
    masked = mask.to_pixels(model.patch)[:, :, :frames]

    def fills(by: PretrainingModel, result: Inpainting, seconds: float) -> list[Fill]:
        assert result.steps is not None
        found = []
        for steps in result.steps[:, :, :, :frames].unbind(1):  # [S, 3, T, H, W]
            pixels = denormalise(steps, by.mean, by.std).clamp(0, 1)
            found.append(
                Fill(
                    to_frames(pixels),
                    psnr(pixels, truth, masked).tolist(),
                    [gradient_ratio(x[None], truth, masked) for x in pixels],
                    seconds / result.steps.shape[1],
                )
            )
        return found

    started = time.perf_counter()
    result = model.inpaint(
        normalise(clip, model.mean, model.std), mask, SAMPLER, _steps(model), seed, True, num_samples=SAMPLES
    )
    samples = fills(model, result, _seconds_since(started, clip.device))
    by_mae = None
    if mae is not None:
        started = time.perf_counter()
        predicted = mae.inpaint(normalise(clip, mae.mean, mae.std), mask, return_steps=True)
        (by_mae,) = fills(mae, predicted, _seconds_since(started, clip.device))
    return Example(
        task,
        source.name,
        source.clip[:frames].numpy(),
        to_frames(grey_fill(truth, masked)[0]),
        masked[0, 0].cpu().numpy(),
        float(psnr(mean_fill(truth, masked), truth, masked)),
        result.timesteps,
        samples,
        by_mae,
    )


def _steps(model: DiffMAE) -> int:
    return min(STEPS, model.schedule.timesteps)


def _seconds_since(started: float, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


@torch.no_grad()
def loss_by_timestep(model: DiffMAE, mae: MAE | None, sources: Sequence[Source], seed: int = 0) -> LossCurve:
    """DiffMAE's loss on sources at timesteps from 1 to T, with masks of the model's own kind.

    Still pictures stand in for clips only where there is no clip. MAE's is measured on the same masks if
    it was trained on pixels normalised in the same way.
    """
    device = next(model.parameters()).device
    count = min(TIMESTEPS, model.schedule.timesteps)
    timesteps = sorted({1, *model.schedule.sampling_timesteps(count, "t")})
    shown = [s for s in sources if not s.is_picture] or sources
    is_comparable = mae is not None and (mae.mean, mae.std) == (model.mean, model.std)
    losses = torch.zeros(len(shown), len(timesteps))
    of_mae = torch.zeros(len(shown))
    for i, source in enumerate(shown):
        state = random_state(seed, i)
        clip = normalise(source.clip[None].to(device), model.mean, model.std)
        mask = Mask.draw(batch=1, grid=model.grid, generator=state, **model.mask).to(device)
        x0 = gather_tokens(patchify(clip, model.patch), mask.masked)  # [1, M, P]
        noise = torch.randn(x0.shape, generator=state).to(device)
        latents = model.encode_latents(clip, mask)
        for j, timestep in enumerate(timesteps):
            t = torch.tensor([timestep], device=device)
            predicted = model.denoise(model.schedule.add_noise(x0, t, noise), t, latents, mask)
            losses[i, j] = (predicted - x0).square().mean()
        if mae is not None and is_comparable:
            of_mae[i] = mae(clip, mask).loss
    return LossCurve(timesteps, losses.mean(0).tolist(), float(of_mae.mean()) if is_comparable else None)
