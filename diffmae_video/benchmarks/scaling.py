"""Predicts time, data and memory of a recipe on many GPUs from its cost and stated assumptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from fvcore.common.config import CfgNode

from diffmae_video.build import encoder_arguments, meta_model
from diffmae_video.cost.flops import Cost, training_cost
from diffmae_video.cost.memory import Footprint
from diffmae_video.errors import InputError

RECIPE_GPUS = 8  # recipes state their batch for this number
STAGES = (0, 1, 2, 3)
BUCKET = 25_000_000  # gradients that are exchanged at a time, as in configs/deepspeed
# Bytes that an optimizer step reads and writes for a parameter: gradient to float32 (6) and its norm (4);
# AdamW on weight, gradient and two moments (28); weight to bf16 (6).
OPTIMIZER_BYTES = 44


def _assumed(default: float, meaning: str, source: str) -> float:
    return field(default=default, metadata={"meaning": meaning, "source": source})


@dataclass(frozen=True)
class Assumptions:
    """What a config does not say; each value has its meaning, unit and source."""

    peak_tflops: float = _assumed(
        989, "TFLOP/s of a GPU in bf16, without sparsity", "NVIDIA's data sheet of the H100 SXM"
    )
    utilisation: float = _assumed(
        0.3, "share of the peak that a step reaches", "measured on an H100, docs/gpu.md"
    )
    bandwidth_gb: float = _assumed(
        50, "GB/s at which each GPU exchanges gradients", "assumed: a 400 Gbit/s adapter for each GPU"
    )
    memory_tb: float = _assumed(3.35, "TB/s of a GPU's memory", "NVIDIA's data sheet of the H100 SXM")
    block_ms: float = _assumed(
        1.7,
        "ms that launching a transformer block's operations takes, forward and backward, not compiled",
        "measured beside an H100: 35 ms for the 20 blocks of ViT-B with its decoder, 8 clips",
    )
    videos: float = _assumed(240_000, "videos of Kinetics-400's training list", "MAE-ST: about 240k")
    video_frames: float = _assumed(300, "frames of a video", "Kinetics: 10 s; assumed: 30 frames/s")
    video_mb: float = _assumed(1.0, "MB of a video file", "assumed: short side resized to about 256 pixels")
    clips_per_core: float = _assumed(
        47,
        "clips/s that a core decodes, crops and resizes",
        "measured, docs/speed.md: 340 x 256, long GOPs; 100 from copies with short GOPs",
    )


@dataclass(frozen=True)
class Scaling:
    """A recipe's pre-training on a number of GPUs."""

    gpus: int
    # videos, clips: per step, over all GPUs
    videos: int
    clips: int
    clips_per_gpu: int  # per step
    # Seconds of a step. Arithmetic and launches overlap completely, and the exchange overlaps with the
    # backward pass except for ``exposed``.
    compute: float
    launches: float
    exchange: float
    exposed: float
    optimizer: float
    step: float  # all of it
    clips_per_s: float  # that all GPUs together consume
    # decoded in all. A video is decoded from a clip's first frame to its last, including the frames
    # between, and no frame twice.
    frames_per_s: float
    storage: float  # bytes/s read in all
    cores: float  # CPU cores kept busy with decoding in all
    days: float  # duration of the whole recipe

    @property
    def limit(self) -> str:
        """What takes most of a step."""
        parts = {"arithmetic": self.compute, "launches": self.launches, "exchange": self.exposed}
        return max(parts, key=lambda name: parts[name])

    @property
    def gpu_hours(self) -> float:
        return 24 * self.days * self.gpus


def simulate(cfg: CfgNode, cost: Cost, gpus: int, assumed: Assumptions) -> Scaling:
    """Predicts a recipe on ``gpus`` GPUs, with its own number of videos per step (stated for 8 GPUs).

    On more GPUs than that each takes one video. A training step counts as three forward passes, without
    recomputation. As at ZeRO stages 1 and 2, a ring adds up the gradients, in bf16, during the backward pass,
    which takes two thirds of the time, and gathers the weights after the optimizer's step. The last bucket of
    gradients and the weights overlap with nothing. The optimizer's step is shared by the GPUs, and limited by
    their memory.

    Args:
        cost: of the config's model, :func:`~diffmae_video.cost.flops.training_cost`.
    """
    stated = cfg.TRAIN.BATCH_SIZE * cfg.TRAIN.ACCUMULATION * RECIPE_GPUS
    per_gpu = max(1, stated // gpus)
    videos, repeats = per_gpu * gpus, cfg.DATA.REPEATS
    compute = 6 * cost.macs * per_gpu * repeats / (assumed.peak_tflops * 1e12 * assumed.utilisation)
    exchange = 2 * (gpus - 1) / gpus * 2 * cost.parameters / (assumed.bandwidth_gb * 1e9)
    blocks = encoder_arguments(cfg)["depth"] + cfg.MODEL.DECODER.DEPTH
    launches = blocks * assumed.block_ms / 1000
    gradients = weights = exchange / 2
    last_bucket = gradients * min(1.0, BUCKET / cost.parameters)
    exposed = weights + max(last_bucket, gradients - 2 / 3 * max(compute, launches))
    optimizer = OPTIMIZER_BYTES * cost.parameters / gpus / (assumed.memory_tb * 1e12)
    step = max(compute, launches) + exposed + optimizer
    span = (cfg.DATA.NUM_FRAMES - 1) * cfg.DATA.STRIDE + 1
    steps = cfg.TRAIN.EPOCHS * assumed.videos / videos
    return Scaling(
        gpus=gpus,
        videos=videos,
        clips=videos * repeats,
        clips_per_gpu=per_gpu * repeats,
        compute=compute,
        launches=launches,
        exchange=exchange,
        exposed=exposed,
        optimizer=optimizer,
        step=step,
        clips_per_s=videos * repeats / step,
        frames_per_s=videos / step * min(repeats * span, assumed.video_frames),
        storage=videos / step * assumed.video_mb * 1e6,
        cores=videos * repeats / step / assumed.clips_per_core,
        days=steps * step / 86400,
    )


def scaling_tables(recipes: Mapping[str, CfgNode], gpus: Sequence[int], assumed: Assumptions) -> str:
    """Three tables in Markdown: what is assumed; time and data; memory on each GPU by ZeRO stage."""
    time, memory = [], []
    for name, cfg in recipes.items():
        model = meta_model(cfg)
        cost = training_cost(model)
        footprint = Footprint.of(model, cfg.TRAIN.PRECISION, cfg.TRAIN.EMA > 0)
        if footprint is None:
            raise InputError(f"{name}: there is no formula for the memory of {cfg.MODEL.OBJECTIVE}")
        for count in gpus:
            run = simulate(cfg, cost, count, assumed)
            time.append(
                [
                    *(name, f"{count}", f"{run.videos} = {run.clips}", f"{run.clips_per_gpu}"),
                    *(f"{1000 * run.compute:.1f}", f"{1000 * run.launches:.0f}"),
                    *(f"{1000 * run.exchange:.1f}", f"{1000 * run.exposed:.1f}"),
                    *(f"{1000 * run.optimizer:.2f}", f"{1000 * run.step:.1f}", run.limit),
                    *(f"{run.clips_per_s:,.0f}", f"{run.frames_per_s:,.0f}", f"{run.storage / 1e6:,.0f}"),
                    *(f"{run.cores:,.0f}", f"{run.days:.2f}", f"{run.gpu_hours:,.0f}"),
                ]
            )
            micro_batch = min(run.clips_per_gpu, cfg.TRAIN.BATCH_SIZE * cfg.DATA.REPEATS)
            totals = [
                f"{footprint.on_gpu(count, stage, checkpointing, micro_batch).total / 1e9:.1f}"
                for checkpointing in (False, True)
                for stage in STAGES
            ]
            memory.append([name, f"{count}", f"{micro_batch}", *totals])
    values = [
        [f"`{x.name}`", f"{getattr(assumed, x.name):,g}", x.metadata["meaning"], x.metadata["source"]]
        for x in fields(Assumptions)
    ]
    stages = [f"{stage}{kind}" for kind in ("", ", checkpointed") for stage in STAGES]
    return "\n\n".join(
        (
            _table(["assumption", "value", "meaning", "source"], values),
            _table(
                [
                    *("recipe", "GPUs", "videos = clips a step", "clips a GPU"),
                    *("arithmetic, ms", "launches, ms", "exchange, ms", "exposed, ms", "optimizer, ms"),
                    *("step, ms", "limit"),
                    *("clips/s", "frames/s decoded", "storage, MB/s", "CPU cores", "days", "GPU-hours"),
                ],
                time,
            ),
            _table(["recipe", "GPUs", "clips a forward", *stages], memory),
        )
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
