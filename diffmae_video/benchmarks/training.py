"""The speed of a training step, compared with the machine's own limit and with a peer in the same run."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch
from fvcore.common.config import CfgNode

from diffmae_video.benchmarks.figure_log import FigureLog
from diffmae_video.benchmarks.steps import EngineStep, Step, bare_step, dtype_of, peer_step
from diffmae_video.benchmarks.timing import (
    RUNS,
    device_name,
    matmul_flops,
    median_ratio,
    peak_flops,
    peak_mb,
    reset_peak_memory,
    seconds_of,
)
from diffmae_video.build import meta_model
from diffmae_video.runtime.device import default_device
from diffmae_video.runtime.malloc import keep_freed_memory
from diffmae_video.runtime.processes import start_process

LOOPS = ("bare", "engine", "hf")  # of whose steps rows are made
LARGE_PRODUCT = {"cuda": 8192, "cpu": 2048}  # side of the square matrices that utilisation refers to


def train_speed(cfg: CfgNode, compiled: bool = False) -> dict[str, Any]:
    """Times forward, backward and AdamW of a config's model, interleaved with its peers; medians of 5 runs.

    The peers are a matrix product with the same threads and dtype, Hugging Face's
    ``VideoMAEForPreTraining`` with the same encoder and its own decoder, and the step of a training run,
    which starts from uint8 clips and in bf16 keeps float32 weights.

    Raises:
        InputError: a precision other than fp32 and bf16, or an objective without masks.
        MissingExtraError: transformers is not installed.
    """
    keep_freed_memory()
    device = default_device()
    ours = bare_step(cfg, device, compiled)
    reset_peak_memory(device)
    ours()
    ours()  # the first step that has both gradients and AdamW's state
    peak = peak_mb(device)
    steps = {
        "ours": ours,
        "hf": peer_step(cfg, device, compiled),
        "engine": EngineStep(cfg, start_process(), compiled),
    }
    for step in steps.values():
        step()
        step()
    repeats = 1 if device.type == "cpu" else 20
    runs: dict[str, list[float]] = {name: [] for name in ("matmul", *steps)}
    shapes = layer_shapes(cfg)
    for _ in range(RUNS):
        runs["matmul"].append(matmul_flops(shapes, dtype_of(cfg), device) / 1e9)
        for name, step in steps.items():
            runs[name].append(step.flops / seconds_of(step, device, repeats) / 1e9)
    gflops = statistics.median(runs["ours"])
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "precision": cfg.TRAIN.PRECISION,
        "decoder": cfg.MODEL.DECODER.KIND if cfg.MODEL.OBJECTIVE == "diffmae" else "mae",
        "compiled": compiled,
        "utilisation": median_ratio(runs["ours"], runs["matmul"]),
        "gflops": round(gflops, 1),
        "gflops_spread": [round(min(runs["ours"]), 1), round(max(runs["ours"]), 1)],
        "matmul_gflops": round(statistics.median(runs["matmul"]), 1),
        "hf_gflops": round(statistics.median(runs["hf"]), 1),
        "ratio_to_hf": median_ratio(runs["ours"], runs["hf"]),
        "engine_over_bare": median_ratio(runs["ours"], runs["engine"]),
        "clips_per_s": round(1e9 * gflops / ours.flops * ours.clips, 3),
        "peak_mb": round(peak),
    }


def layer_shapes(cfg: CfgNode) -> list[tuple[int, int, int]]:
    """A large product (m, k, n), and those of the MLPs of a config's encoder and decoder."""
    model = meta_model(cfg)
    clip = torch.empty(
        cfg.TRAIN.BATCH_SIZE * cfg.DATA.REPEATS, 3, cfg.DATA.NUM_FRAMES, *cfg.DATA.SIZE, device="meta"
    )
    mask = model.draw_mask(clip)
    rows, width = mask.visible.numel(), model.encoder.width
    decoder: Any = model.decoder
    masked, narrow = mask.masked.numel(), decoder.head.in_features
    return [
        (4096, 4096, 4096),
        (rows, width, 4 * width),
        (rows, 4 * width, width),
        (masked, narrow, 4 * narrow),
        (masked, 4 * narrow, narrow),
    ]


def step_rows(
    log: FigureLog,
    cfg: CfgNode,
    loops: Sequence[str] = LOOPS,
    compiled: Sequence[bool] = (False, True),
    product: float | None = None,
) -> list[dict[str, Any]]:
    """Measures steps one after another, each alone in memory; for a GPU.

    Args:
        loops: whose steps: of the ``bare`` loop, of a training run's ``engine``, of ``hf``.
        compiled: without and with torch.compile.
        product: FLOP/s of the large product, as :func:`large_product` measures it.

    Returns:
        The rows that were measured.
    """
    device = default_device()
    product = product or large_product(cfg, device)
    rows = []
    for is_compiled in compiled:
        for loop in loops:
            labels = {
                "model": f"ViT-{cfg.MODEL.ENCODER.SIZE}",
                "decoder": "HF's own" if loop == "hf" else cfg.MODEL.DECODER.KIND,
                "loop": loop,
                "compiled": is_compiled,
            }
            measure = _measurement(cfg, loop, is_compiled, device, product)
            row = log.measure("train", device, measure, **labels)
            if row is not None:
                rows.append(row)
    return rows


def _measurement(
    cfg: CfgNode, loop: str, compiled: bool, device: torch.device, product: float
) -> Callable[[], dict[str, Any]]:
    def measure() -> dict[str, Any]:
        if loop == "engine":
            step: Step = EngineStep(cfg, start_process(), compiled)
        else:
            step = (peer_step if loop == "hf" else bare_step)(cfg, device, compiled)
        return step_figures(step, device, product)

    return measure


def step_figures(step: Step, device: torch.device, product: float) -> dict[str, Any]:
    """The speed and memory of a step.

    Returns:
        ``mfu`` and ``of_product``: FLOP/s relative to the data sheet's peak (None if unknown) and to
        ``product``. ``first_s``: seconds of the first step, with compilation. ``peak_gb``: memory at the
        highest point of a later step.
    """
    first = seconds_of(step, device)
    step()
    reset_peak_memory(device)
    repeats = 1 if device.type == "cpu" else 5
    seconds = statistics.median(seconds_of(step, device, repeats) for _ in range(3))
    flops, peak = step.flops / seconds, peak_flops(device)
    return {
        "batch": step.clips,
        "ms": round(1e3 * seconds, 2),
        "clips_per_s": round(step.clips / seconds, 1),
        "tflops": round(flops / 1e12, 3),
        "mfu": None if peak is None else round(flops / peak, 3),
        "of_product": round(flops / product, 3),
        "peak_gb": round(peak_mb(device) * 2**20 / 1e9, 2),
        "first_s": round(first, 1),
    }


def large_product(cfg: CfgNode, device: torch.device) -> float:
    """FLOP/s of a product of two large square matrices in TRAIN.PRECISION."""
    n = LARGE_PRODUCT[device.type]
    return matmul_flops([(n, n, n)], dtype_of(cfg), device)


def train_speed_on_gpu(cfg: CfgNode) -> dict[str, Any]:
    """Prints :func:`step_rows` of a config, and summarises the bare, eager step as :func:`train_speed` does.

    What could not be measured is left out.
    """
    device = default_device()
    product = large_product(cfg, device)
    rows = step_rows(FigureLog(), cfg, product=product)
    eager = {row["loop"]: row for row in rows if not row["compiled"]}
    summary: dict[str, Any] = {
        "device": device_name(device),
        "precision": cfg.TRAIN.PRECISION,
        "matmul_gflops": round(product / 1e9, 1),
    }
    if "hf" in eager:
        summary["hf_gflops"] = round(1e3 * eager["hf"]["tflops"], 1)
    if "bare" in eager:
        ours = eager["bare"]
        summary |= {
            "utilisation": ours["of_product"],
            "gflops": round(1e3 * ours["tflops"], 1),
            "mfu": ours["mfu"],
            "clips_per_s": ours["clips_per_s"],
            "peak_mb": round(ours["peak_gb"] * 1e9 / 2**20),
        }
    for name, other in (("ratio_to_hf", "hf"), ("engine_over_bare", "engine")):
        if "bare" in eager and other in eager:
            summary[name] = round(eager["bare"]["tflops"] / eager[other]["tflops"], 3)
    return summary
