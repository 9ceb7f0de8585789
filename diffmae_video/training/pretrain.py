"""The pre-training run: from a config to a folder with a trained model."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from fvcore.common.config import CfgNode

from diffmae_video.build import build_loader, build_model
from diffmae_video.data import normalise
from diffmae_video.data.clips import ClipDataset, random_state
from diffmae_video.errors import InputError
from diffmae_video.files import write_text
from diffmae_video.training.engine import (
    build_engine,
    consolidated_weights,
    resolve_precision,
    start_process,
)
from diffmae_video.training.log import StepLog
from diffmae_video.training.optim import WarmupCosine, build_optimizer

METRICS = "metrics.jsonl"
COLLECT_EVERY = 200  # steps between garbage collections, which would otherwise stall ranks at random


@dataclass(frozen=True)
class Plan:
    """What a run will do, in numbers.

    Attributes:
        steps, warmup: optimizer steps.
        videos, clips: of one optimizer step, over all processes.
        lr: the peak learning rate, base * effective batch / 256.
    """

    steps: int
    warmup: int
    videos: int
    clips: int
    lr: float

    @classmethod
    def of(cls, cfg: CfgNode, count: int, world: int) -> Plan:
        """The plan of a config for a list of ``count`` videos on ``world`` processes."""
        train = cfg.TRAIN
        videos = train.BATCH_SIZE * train.ACCUMULATION * world
        clips = videos * cfg.DATA.REPEATS
        steps = train.MAX_STEPS or round(train.EPOCHS * count / videos)
        if steps < 1:
            raise InputError(
                "TRAIN.EPOCHS and TRAIN.MAX_STEPS: the run would have no step; raise one of them"
            )
        warmup = train.WARMUP_STEPS or round(train.WARMUP_EPOCHS * count / videos)
        effective = clips if train.COUNT_REPEATS else videos
        return cls(steps, min(warmup, steps - 1), videos, clips, train.BASE_LR * effective / 256)

    def __str__(self) -> str:
        return (
            f"{self.steps} steps of {self.videos} videos = {self.clips} clips, "
            f"learning rate {self.lr:.3g}, warm-up {self.warmup} steps"
        )


def pretrain(cfg: CfgNode, output: str | Path) -> None:
    """Pre-trains the model of a config and writes it to a folder.

    The folder gets config.yaml, metrics.jsonl (one line a step), and at the end model.safetensors
    and config.json of the last step's weights.

    Raises:
        InputError: the config, the list or the machine does not allow the run, or the folder holds one.
    """
    process = start_process()
    output = Path(output)
    if process.is_main and (output / METRICS).exists():
        raise InputError(f"{output}: holds a run already; give another --output, or delete it")
    torch.manual_seed(cfg.TRAIN.SEED)
    torch.set_float32_matmul_precision("high")
    model = build_model(cfg)
    loader = build_loader(cfg, process.rank, process.world)
    assert isinstance(loader.dataset, ClipDataset)
    plan = Plan.of(cfg, len(loader.dataset), process.world)
    precision = resolve_precision(cfg.TRAIN.PRECISION, process.device)
    if process.is_main:
        output.mkdir(parents=True, exist_ok=True)
        write_text(output / "config.yaml", cfg.dump())
        count = sum(p.numel() for p in model.parameters())
        print(
            f"{count / 1e6:.1f} M parameters, {precision} on {process.world} x {process.device.type}; {plan}"
        )
    optimizer = build_optimizer(model, cfg.TRAIN.WEIGHT_DECAY, tuple(cfg.TRAIN.BETAS))
    engine = build_engine(
        model,
        optimizer,
        process,
        micro_batch=cfg.TRAIN.BATCH_SIZE * cfg.DATA.REPEATS,
        accumulation=cfg.TRAIN.ACCUMULATION,
        precision=precision,
        zero_stage=cfg.DEEPSPEED.ZERO_STAGE,
        clip_grad=cfg.TRAIN.CLIP_GRAD,
    )
    rate = WarmupCosine(plan.lr, plan.steps, plan.warmup)
    generator = torch.Generator(process.device)
    batches = iter(loader)
    engine.train()
    gc.disable()
    try:
        path = output / METRICS if process.is_main else Path("/dev/null")
        with StepLog(path, plan.steps, cfg.TRAIN.LOG_EVERY, plan.clips, quiet=not process.is_main) as log:
            for step in range(plan.steps):
                started, waited = time.perf_counter(), 0.0
                for group in engine.optimizer.param_groups:
                    group["lr"] = rate(step)
                losses = []
                for micro in range(cfg.TRAIN.ACCUMULATION):
                    before = time.perf_counter()
                    batch = next(batches)
                    waited += time.perf_counter() - before
                    key = (cfg.TRAIN.SEED, step, micro, process.rank)
                    generator.manual_seed(random_state(*key).initial_seed())
                    clips = normalise(
                        batch.clips.to(process.device, non_blocking=True), cfg.DATA.MEAN, cfg.DATA.STD
                    )
                    out = engine(
                        clips,
                        mask=batch.mask.to(process.device, non_blocking=True),
                        t=batch.t.to(process.device, non_blocking=True),
                        generator=generator,
                    )
                    engine.backward(out.loss)
                    engine.step()
                    losses.append(out.loss.detach())
                log.step(
                    step=step + 1,
                    loss=torch.stack(losses).mean(),
                    lr=rate(step),
                    data_ms=round(1000 * waited, 2),
                    step_ms=round(1000 * (time.perf_counter() - started), 2),
                )
                if step % COLLECT_EVERY == COLLECT_EVERY - 1:
                    gc.collect()
    finally:
        gc.enable()
    weights = consolidated_weights(engine)
    if process.is_main:
        model.save_pretrained(output, state_dict=weights)
