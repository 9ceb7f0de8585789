"""The speed and quality of samplers that fill masked clips, and the cost of a step beside the decoder's."""

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from diffmae_video.benchmarks.figure_log import FigureLog
from diffmae_video.benchmarks.steps import DTYPES
from diffmae_video.benchmarks.timing import RUNS, device_name, median_seconds, seconds_of
from diffmae_video.build import build_model, view_dataset
from diffmae_video.config import load_config, recipe_of
from diffmae_video.data import denormalise, normalise, open_video, read_list
from diffmae_video.errors import InputError
from diffmae_video.inpainting.metrics import psnr, std_ratio
from diffmae_video.masks import Mask
from diffmae_video.models import load_model
from diffmae_video.models.base import PretrainingModel
from diffmae_video.runtime.device import default_device, sampling_dtype

SAMPLERS = (("ddpm", 1000), ("ddim", 50), ("dpm++", 10))  # with their numbers of steps
VIDEOS, CLIPS_PER_VIDEO = 4, 4
BATCHES = (1, 8, 32)  # clips that a GPU fills at once
ROW_STEPS = 10  # sampling steps of a row


def sample_speed(folder: Path, overrides: Sequence[Any], videos: Path, precision: str) -> dict[str, Any]:
    """Compares samplers on a trained model and held-out clips.

    Args:
        folder: of the model's run.
        overrides: options that replace the recipe's, ``[KEY, VALUE, ...]``.
        videos: list of held-out videos, used where DATA.VAL is empty.
        precision: of the weights, see :func:`~diffmae_video.runtime.device.sampling_dtype`.

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
    device = default_device()
    dtype = sampling_dtype(precision, device)
    figures = compare_samplers(model.to(device, dtype), clips, cfg.MASK.RATIO, clip_seconds)
    return {"decoder": cfg.MODEL.DECODER.KIND, "precision": str(dtype).removeprefix("torch."), **figures}


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


def sampling_rows(log: FigureLog, cfg: CfgNode, device: torch.device) -> None:
    """Measures DDIM on random clips: float32 and bf16 weights, several clips at once, with a CUDA graph."""
    for precision in ("bf16", "fp32"):
        model = build_model(cfg).to(device, DTYPES[precision]).eval()
        for graph in (False, True) if device.type == "cuda" and precision == "bf16" else (False,):
            for batch in BATCHES:
                log.measure(
                    "sample",
                    device,
                    partial(_sampling_figures, model, batch, cfg.MASK.RATIO, graph),
                    precision=precision,
                    batch=batch,
                    cuda_graph=graph,
                )


def _sampling_figures(model: PretrainingModel, batch: int, ratio: float, cuda_graph: bool) -> dict[str, Any]:
    """Milliseconds of the first step, which encodes the visible patches, and of each later one."""
    device = next(model.parameters()).device
    clip = torch.randn(batch, 3, *model.clip_size, device=device)
    mask = Mask.random(batch, model.grid, ratio).to(device)
    options: dict[str, Any] = {"cuda_graph": True} if cuda_graph else {}
    one, many = (
        median_seconds(partial(model.inpaint, clip, mask, "ddim", steps, **options), device)
        for steps in (1, ROW_STEPS + 1)
    )
    step = (many - one) / ROW_STEPS
    return {
        "first_step_ms": round(1e3 * one, 2),
        "step_ms": round(1e3 * step, 2),
        "clips_per_s_50_steps": round(batch / (one + 49 * step), 2),
    }
