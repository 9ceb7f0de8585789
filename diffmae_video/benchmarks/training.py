"""The speed of a training step, compared with the machine's own limit and with a peer in the same run.

FLOPs are counted by formula, two for each multiply-accumulate, with attention. A training step counts as
three forward passes; recomputation is left out.
"""

from __future__ import annotations

import resource
import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from diffmae_video.benchmarks.timing import RUNS, device_name, median_ratio, seconds_of, synchronize
from diffmae_video.build import build_model
from diffmae_video.cost.flops import training_cost
from diffmae_video.errors import InputError, require
from diffmae_video.masks import Mask
from diffmae_video.runtime.device import default_device
from diffmae_video.runtime.malloc import keep_freed_memory
from diffmae_video.runtime.processes import start_process
from diffmae_video.training.engine import build_engine, spread_non_finite, take_step
from diffmae_video.training.from_config import engine_options
from diffmae_video.training.optimizer import build_optimizer

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def block_macs(tokens: int, width: int, depth: int, mlp_ratio: float = 4.0) -> int:
    """Multiply-accumulates of pre-norm ViT blocks: projections, attention and MLP."""
    return int(depth * (tokens * width**2 * (4 + 2 * mlp_ratio) + 2 * tokens**2 * width))


def matmul_flops(shapes: list[tuple[int, int, int]], dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of the fastest of several linear layers, given as (m, k, n): [m, k] x [k, n] with a bias."""
    best = 0.0
    for m, k, n in shapes:
        x = torch.randn(m, k, device=device, dtype=dtype)
        w, b = torch.randn(n, k, device=device, dtype=dtype), torch.randn(n, device=device, dtype=dtype)
        product = lambda x=x, w=w, b=b: nn.functional.linear(x, w, b)  # noqa: E731
        product()
        repeats = max(1, int(2e11 if device.type == "cpu" else 2e13) // (2 * m * k * n))
        best = max(best, 2 * m * k * n / seconds_of(product, device, repeats))
    return best


def train_speed(cfg: CfgNode, compiled: bool = False) -> dict[str, Any]:
    """Times forward, backward and AdamW of a config's model, interleaved with its peers; medians of 5 runs.

    The peers are a matrix product with the same threads and dtype, Hugging Face's
    ``VideoMAEForPreTraining`` with its own default decoder, and in float32 the same step through the
    training engine (in bf16 the engine also keeps float32 weights, so the two cannot be compared).

    Raises:
        InputError: a precision other than fp32 and bf16, or an objective without masks.
        MissingExtraError: transformers is not installed.
    """
    if cfg.TRAIN.PRECISION not in DTYPES:
        raise InputError(f"TRAIN.PRECISION {cfg.TRAIN.PRECISION}: the benchmark supports {', '.join(DTYPES)}")
    keep_freed_memory()
    device = default_device()
    dtype, batch = DTYPES[cfg.TRAIN.PRECISION], cfg.TRAIN.BATCH_SIZE
    torch.manual_seed(cfg.TRAIN.SEED)
    model = build_model(cfg).to(device, dtype).train()
    if model.mask is None:
        raise InputError(
            f"MODEL.OBJECTIVE {cfg.MODEL.OBJECTIVE}: the benchmark takes masked "
            "autoencoders only; set diffmae or mae"
        )
    clip = torch.randn(batch, 3, cfg.DATA.NUM_FRAMES, *cfg.DATA.SIZE, device=device)
    mask = model.draw_mask(clip)
    flops = 6 * batch * training_cost(cfg).macs
    ours = training_step(model, cfg, lambda: model(clip, mask).loss)
    if compiled:
        model.compile()
    ours()
    synchronize(device)
    peak = _peak_mb(device)
    ours()
    theirs, their_flops = _hugging_face(cfg, clip, dtype, device)
    theirs()
    theirs()
    rows, width = batch * mask.visible.shape[1], model.encoder.width
    decoder: Any = model.decoder
    masked, narrow = batch * mask.masked.shape[1], decoder.head.in_features
    shapes = [(4096, 4096, 4096), (rows, width, 4 * width), (rows, 4 * width, width)]
    shapes += [(masked, narrow, 4 * narrow), (masked, 4 * narrow, narrow)]
    repeats = 1 if device.type == "cpu" else 20
    engine = _engine_step(cfg, clip, mask, compiled) if dtype == torch.float32 else None
    runs: dict[str, list[float]] = {"ours": [], "hf": [], "matmul": [], "engine": []}
    for _ in range(RUNS):
        runs["matmul"].append(matmul_flops(shapes, dtype, device) / 1e9)
        runs["ours"].append(flops / seconds_of(ours, device, repeats) / 1e9)
        runs["hf"].append(their_flops / seconds_of(theirs, device, repeats) / 1e9)
        if engine is not None:
            runs["engine"].append(flops / seconds_of(engine, device, repeats) / 1e9)
    gflops, hf, matmul = (statistics.median(runs[name]) for name in ("ours", "hf", "matmul"))
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "precision": cfg.TRAIN.PRECISION,
        "decoder": cfg.MODEL.DECODER.KIND if cfg.MODEL.OBJECTIVE == "diffmae" else "mae",
        "compiled": compiled,
        "utilisation": median_ratio(runs["ours"], runs["matmul"]),
        "gflops": round(gflops, 1),
        "gflops_spread": [round(min(runs["ours"]), 1), round(max(runs["ours"]), 1)],
        "matmul_gflops": round(matmul, 1),
        "hf_gflops": round(hf, 1),
        "ratio_to_hf": median_ratio(runs["ours"], runs["hf"]),
        **({} if engine is None else {"engine_over_bare": median_ratio(runs["ours"], runs["engine"])}),
        "clips_per_s": round(1e9 * gflops / flops * batch, 3),
        "peak_mb": round(peak),
    }


def _engine_step(cfg: CfgNode, clip: Tensor, mask: Mask, compiled: bool) -> Callable[[], None]:
    """The same step through DeepSpeed's engine, as a run takes it."""
    process = start_process()
    torch.manual_seed(cfg.TRAIN.SEED)
    model = build_model(cfg)
    optimizer = build_optimizer(
        model, cfg.TRAIN.WEIGHT_DECAY, tuple(cfg.TRAIN.BETAS), kind=cfg.TRAIN.OPTIMIZER
    )
    options = replace(engine_options(cfg, cfg.TRAIN.PRECISION), compile=compiled)
    engine = build_engine(model, optimizer, process, options)
    engine.train()

    def step() -> None:
        engine.backward(spread_non_finite(engine(clip, mask).loss))
        take_step(engine)

    step()
    return step


def training_step(model: nn.Module, cfg: CfgNode, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """A function that takes one step of a bare loop: loss, gradients, AdamW."""
    optimizer = build_optimizer(
        model, cfg.TRAIN.WEIGHT_DECAY, tuple(cfg.TRAIN.BETAS), kind=cfg.TRAIN.OPTIMIZER
    )

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _hugging_face(
    cfg: CfgNode, clip: Tensor, dtype: torch.dtype, device: torch.device
) -> tuple[Callable[[], None], int]:
    """The peer's training step on the same clips, with tube masks of the same ratio, and its FLOPs."""
    transformers = require("transformers", "bench")
    config = transformers.VideoMAEConfig(
        image_size=cfg.DATA.SIZE[0],
        num_frames=cfg.DATA.NUM_FRAMES,
        patch_size=cfg.MODEL.PATCH[1],
        tubelet_size=cfg.MODEL.PATCH[0],
    )
    model = transformers.VideoMAEForPreTraining(config).to(device, dtype).train()
    side = cfg.DATA.SIZE[0] // cfg.MODEL.PATCH[1]
    grid = (cfg.DATA.NUM_FRAMES // cfg.MODEL.PATCH[0], side, side)
    masks = Mask.tube(len(clip), grid, cfg.MASK.RATIO)
    hidden, pixels = masks.to_bool().flatten(1).to(device), clip.transpose(1, 2).to(dtype)
    visible, masked = masks.visible.shape[1], masks.masked.shape[1]
    values, width, narrow = (
        3 * config.tubelet_size * config.patch_size**2,
        config.hidden_size,
        config.decoder_hidden_size,
    )
    macs = (visible + masked) * values * width  # it embeds masked patches too
    macs += block_macs(visible, width, config.num_hidden_layers)
    macs += visible * width * narrow + masked * narrow * values
    macs += block_macs(visible + masked, narrow, config.decoder_num_hidden_layers)
    step = training_step(model, cfg, lambda: model(pixels, bool_masked_pos=hidden).loss)
    return step, 6 * len(clip) * macs


def _peak_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
