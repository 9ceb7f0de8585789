"""The pre-training run: from a config to a folder with a trained model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from diffmae_video.build import build_dataset, build_loader, build_model
from diffmae_video.cost.flops import training_cost
from diffmae_video.cost.memory import estimate_memory
from diffmae_video.data import TrainingClips, clips_on, normalise
from diffmae_video.models import IGPT
from diffmae_video.randomness import random_state
from diffmae_video.runtime.processes import Process, start_process
from diffmae_video.runtime.stops import lost_peers
from diffmae_video.training.colours import give_colours
from diffmae_video.training.engine import resolve_precision
from diffmae_video.training.loop import NOT_DATA, Run, train
from diffmae_video.training.optimizer import build_optimizer
from diffmae_video.training.plan import Plan
from diffmae_video.training.validation import Validation


def pretrain(cfg: CfgNode, output: str | Path, resume: bool = False) -> None:
    """Pre-trains the model of a config and writes it to a folder.

    The folder gets config.yaml, environment.json, metrics.jsonl (one line a step), validation.jsonl,
    curves for TensorBoard, checkpoints, and at the end model.safetensors and config.json of the last
    step's weights.

    Args:
        resume: go on with the folder's run from its newest whole checkpoint; with none it starts.

    Raises:
        InputError: the config, the list or the machine does not allow the run, or the folder holds one.
        RunEnded: it was told to stop, or cannot go on; see :mod:`diffmae_video.runtime.stops`.
    """
    process = start_process(cfg.TRAIN.PATIENCE)
    with lost_peers(process):
        run = Run.open(cfg, Path(output), resume, process)
        torch.manual_seed(cfg.TRAIN.SEED)
        torch.set_float32_matmul_precision("high")
        model, dataset = build_model(cfg), build_dataset(cfg)
        plan = Plan.of(cfg, len(dataset), process.world)
        precision = resolve_precision(cfg.TRAIN.PRECISION, process.device)
        if process.is_main:
            count = sum(p.numel() for p in model.parameters())
            machine = f"{precision} on {process.world} x {process.device.type}"
            print(f"{count / 1e6:.1f} M parameters, {machine}; {plan}", flush=True)
        if isinstance(model, IGPT) and run.found is None:
            give_colours(model.encoder, cfg, dataset.entries, process)
        optimizer = build_optimizer(model, cfg.TRAIN.WEIGHT_DECAY, tuple(cfg.TRAIN.BETAS))
        engine = run.build_engine(model, optimizer, precision)
        loader = build_loader(cfg, process.rank, process.world, start=run.state.samples)
        wanted = cfg.DATA.VAL and cfg.VALIDATION.EVERY_STEPS
        validation = Validation(cfg, process) if wanted else None
        train(run, engine, loader, plan, PretrainingLoss(cfg, engine, process), validation)


def describe_run(cfg: CfgNode) -> str:
    """What :func:`pretrain` would do, without doing it: model, cost, memory, steps and rate.

    WORLD_SIZE in the environment says for how many processes; without it for one.

    Raises:
        InputError: the config or the list does not allow the run.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    plan = Plan.of(cfg, len(build_dataset(cfg)), world)
    lines = [str(training_cost(cfg)), f"{plan}; on {world} process{'es' if world > 1 else ''}"]
    if cfg.MODEL.OBJECTIVE in ("diffmae", "mae"):  # the formula knows no other one
        memory = estimate_memory(cfg, world, cfg.DEEPSPEED.ZERO_STAGE)
        parts = (
            f"{name} {value / 2**30:.2f}" for name, value in (*vars(memory).items(), ("in all", memory.total))
        )
        lines.append(f"memory of each process in GiB, by formula: {', '.join(parts)}")
    return "\n".join(lines)


class PretrainingLoss:
    """The loss of a batch, with noise that depends on a video's place in the stream alone.

    So a step is the same for any number of processes and forwards that share its videos, but for a
    decoder that decodes a share of the patches: which ones is drawn for a forward.
    """

    def __init__(self, cfg: CfgNode, engine: Any, process: Process) -> None:
        self.cfg, self.engine, self.device = cfg, engine, process.device
        self.generator = torch.Generator(process.device)

    def __call__(self, batch: TrainingClips, places: Sequence[int]) -> Tensor:
        clips = clips_on(batch.clips, self.cfg.DATA.SIZE, self.device)
        clips = normalise(clips, self.cfg.DATA.MEAN, self.cfg.DATA.STD)
        mask = batch.mask.to(self.device, non_blocking=True)
        shape = (self.cfg.DATA.REPEATS, *self.engine.module.noise_shape(clips, mask))
        noise = torch.cat([self._noise(place, shape) for place in places])  # [B, M, P] of masked patches
        t = batch.t.to(self.device, non_blocking=True)
        loss: Tensor = self.engine(clips, mask=mask, t=t, noise=noise, generator=self.generator).loss
        return loss

    def _noise(self, place: int, shape: tuple[int, ...]) -> Tensor:
        self.generator.manual_seed(random_state(self.cfg.TRAIN.SEED, place, NOT_DATA).initial_seed())
        return torch.randn(shape, generator=self.generator, device=self.device)
