"""The speed and quality of samplers that fill masked clips, and the cost of a step beside the decoder's."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffmae_video.benchmarks.timing import RUNS, device_name, seconds_of
from diffmae_video.build import view_dataset
from diffmae_video.config import load_config, recipe_of
from diffmae_video.data import denormalise, normalise, open_video, read_list
from diffmae_video.errors import InputError
from diffmae_video.inpainting.metrics import psnr, std_ratio
from diffmae_video.masks import Mask
from diffmae_video.models import load_model
from diffmae_video.models.base import PretrainingModel
from diffmae_video.runtime.device import default_device

SAMPLERS = (("ddpm", 1000), ("ddim", 50), ("dpm++", 10))  # with their numbers of steps
VIDEOS, CLIPS_PER_VIDEO = 4, 4


def sample_speed(folder: Path, overrides: Sequence[Any], videos: Path) -> dict[str, Any]:
    """Compares samplers on a trained model and held-out clips.

    Args:
        folder: of the model's run.
        overrides: options that replace the recipe's, ``[KEY, VALUE, ...]``.
        videos: list of held-out videos, used where DATA.VAL is empty.

    Raises:
        InputError: the folder, the model or the list does not serve.
    """
    cfg = load_config(recipe_of(folder), overrides)
    model = load_model(folder)
    name = type(model).__name__
    if not isinstance(model, PretrainingModel):
        raise InputError(f"{folder}: sampling is measured on a pre-trained model, not on a {name}")
    model.check_inpainter()
    if model.timesteps is None:
        raise InputError(f"{folder}: a {name} predicts in one step and uses no sampler")
    entries = read_list(cfg.DATA.VAL or videos, cfg.DATA.ROOT)[:VIDEOS]
    dataset = view_dataset(cfg, entries, CLIPS_PER_VIDEO)
    clips = torch.cat([dataset[i].clips for i in range(len(dataset))])
    dataset.decoder.stop()
    with open_video(entries[0].path, cfg.DATA.BACKEND) as video:
        clip_seconds = cfg.DATA.NUM_FRAMES * cfg.DATA.STRIDE / (cfg.DATA.FPS or video.fps)
    figures = compare_samplers(model.to(default_device()), clips, cfg.MASK.RATIO, clip_seconds)
    return {"decoder": cfg.MODEL.DECODER.KIND, **figures}


@torch.no_grad()
def compare_samplers(
    model: PretrainingModel,
    clips: Tensor,
    ratio: float,
    clip_seconds: float,
    samplers: Sequence[tuple[str, int]] = SAMPLERS,
) -> dict[str, Any]:
    """Seconds per clip and quality of each sampler, and the cost of a step relative to the decoder's.

    All clips are filled in one batch, as the windows of a film are. The last sampler is compared with the one
    before it: how many times faster it is, and the difference in masked PSNR.

    Args:
        clips: uint8 [B, T, H, W, 3], held out.
        ratio: of the random mask.
        clip_seconds: duration of a clip.
        samplers: each with its number of steps.
    """
    device = next(model.parameters()).device
    clips = clips.to(device)
    mask = Mask.random(len(clips), model.grid, ratio, torch.Generator().manual_seed(0)).to(device)
    clip = normalise(clips, model.mean, model.std)
    truth, masked = clips.movedim(-1, 1).float() / 255, mask.to_pixels(model.patch)
    predict = model.predictor(clip, mask)
    noise = torch.randn_like(model.masked_patches(clip, mask))
    t = torch.full((len(clip),), 500, device=device)

    def decode() -> Tensor:
        return predict(noise, t)

    def inpaint(sampler: str, steps: int) -> Callable[[], Any]:
        return lambda: model.inpaint(clip, mask, sampler, steps)

    decode()
    ratios, encoder = [], []
    for _ in range(RUNS):
        forward = seconds_of(decode, device, 20)
        few, many = seconds_of(inpaint("ddim", 1), device), seconds_of(inpaint("ddim", 21), device)
        ratios.append((many - few) / 20 / forward)
        encoder.append((few - forward) / len(clip))
    results: dict[str, dict[str, float]] = {}
    for sampler, steps in samplers:
        inpaint(sampler, 2)()  # imports what the sampler needs
        filled: list[Tensor] = []
        seconds = seconds_of(lambda: filled.append(inpaint(sampler, steps)().clip), device)  # noqa: B023
        fill = denormalise(filled[0], model.mean, model.std).clamp(0, 1)
        results[f"{sampler}-{steps}"] = {
            "seconds_per_clip": round(seconds / len(clips), 4),
            "seconds_per_output_second": round(seconds / len(clips) / clip_seconds, 4),
            "psnr": round(float(psnr(fill, truth, masked).mean()), 2),
            "std_ratio": round(std_ratio(fill, truth, masked), 3),
        }
    former, last = list(results)[-2:]
    return {
        "device": device_name(device),
        "clips": len(clips),
        "clip_seconds": round(clip_seconds, 4),
        "step_over_decoder": round(statistics.median(ratios), 3),
        "encoder_seconds_per_clip": round(statistics.median(encoder), 4),
        **results,
        "faster": {
            "name": f"{last} instead of {former}",
            "seconds_ratio": round(
                results[former]["seconds_per_clip"] / results[last]["seconds_per_clip"], 2
            ),
            "psnr_difference": round(results[last]["psnr"] - results[former]["psnr"], 2),
        },
    }
