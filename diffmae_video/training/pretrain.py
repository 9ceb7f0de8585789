"""Pre-training: from a config to a folder with a trained model."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from fvcore.common.config import CfgNode

from diffmae_video.build import build_dataset, build_model, meta_model, training_entries
from diffmae_video.cost.flops import training_cost
from diffmae_video.cost.least_time import describe_training_time
from diffmae_video.cost.memory import Footprint
from diffmae_video.data import training_loader
from diffmae_video.data.device_decoding import DeviceDecoder, resolve_device_decoding
from diffmae_video.data.lists import check_first_files
from diffmae_video.models.weights.initialise import initialise
from diffmae_video.runtime.cpus import resolve_workers
from diffmae_video.runtime.processes import start_process
from diffmae_video.runtime.stops import lost_peers
from diffmae_video.training.engine import resolve_compile, resolve_precision
from diffmae_video.training.from_config import (
    engine_options,
    loop_options,
    pictures_for_preparation,
    plan_of,
    pretraining_validation,
)
from diffmae_video.training.loop import TrainingLoop
from diffmae_video.training.optimizer import build_optimizer
from diffmae_video.training.prepare_backbone import prepare_backbone
from diffmae_video.training.pretraining_loss import PretrainingLoss
from diffmae_video.training.run import Run


def pretrain(cfg: CfgNode, output: str | Path, resume: bool = False) -> None:
    """Pre-trains the model of a config and writes it to a folder.

    The folder gets config.yaml, environment.json, metrics.jsonl (one line per step), validation.jsonl,
    curves for TensorBoard, checkpoints, and at the end model.safetensors and config.json with the last
    step's weights.

    Args:
        resume: continue the folder's run from its newest complete checkpoint, or start if there is none.

    Raises:
        InputError: the config, the list, the weights to start from or the machine does not allow the run, or
            the folder already holds a run.
        RunEnded: a signal stopped the run, or it cannot continue; see :mod:`diffmae_video.runtime.stops`.
    """
    process = start_process(cfg.TRAIN.PATIENCE)
    with lost_peers(process):
        run = Run.open(Path(output), resume, cfg.CHECKPOINT.KEEP, process)
        torch.manual_seed(cfg.TRAIN.SEED)
        torch.set_float32_matmul_precision("high")
        model = build_model(cfg)
        on_device = resolve_device_decoding(cfg.DATA.DECODE_ON_DEVICE, process.device)
        dataset = build_dataset(cfg, model, on_device)
        plan = plan_of(cfg, dataset.entries, process.world)
        precision, options = resolve_precision(cfg.TRAIN.PRECISION, process.device), loop_options(cfg)
        if process.is_main:
            count = sum(p.numel() for p in model.parameters())
            machine = f"{precision} on {process.world} x {process.device.type}"
            print(f"{count / 1e6:.1f} M parameters, {machine}; {plan}", flush=True)
            print(f"checkpoints: {options.saves}, in {run.checkpoints.folder}", flush=True)
        if run.resumed_from is None:
            pictures = pictures_for_preparation(cfg, dataset.entries)
            prepare_backbone(model.encoder, pictures, cfg.TRAIN.SEED, process)
            if cfg.MODEL.INIT:
                taken = initialise(model, cfg.MODEL.INIT)
                if process.is_main:
                    print(taken, flush=True)
        optimizer = build_optimizer(
            model, cfg.TRAIN.WEIGHT_DECAY, tuple(cfg.TRAIN.BETAS), kind=cfg.TRAIN.OPTIMIZER
        )
        compiled = resolve_compile(cfg.TRAIN.COMPILE, process.device, plan.steps, cfg.DEEPSPEED.ZERO_STAGE)
        engine = run.build_engine(model, optimizer, engine_options(cfg, precision, compiled))
        loader = training_loader(
            dataset,
            cfg.TRAIN.BATCH_SIZE,
            resolve_workers(cfg.DATA.WORKERS, process.device),
            process.rank,
            process.world,
            start=run.state.samples,
            accumulation=cfg.TRAIN.ACCUMULATION,
        )
        validation = None
        if cfg.DATA.VAL and cfg.VALIDATION.EVERY_STEPS:
            validation = pretraining_validation(cfg, process)
        loss = PretrainingLoss(
            engine,
            process.device,
            size=cfg.DATA.SIZE,
            repeats=cfg.DATA.REPEATS,
            seed=cfg.TRAIN.SEED,
        )
        loop = TrainingLoop(run, engine, plan, loss, options, validation)
        decode = DeviceDecoder(dataset, process.device) if on_device else iter
        loop.train(loader, recipe=cfg.dump(), decode=decode)
        if process.is_main:
            print(f"the model is in {run.output}", flush=True)


def describe_run(cfg: CfgNode) -> str:
    """Describes what :func:`pretrain` would do: model, cost, memory, steps, learning rate and least time.

    WORLD_SIZE in the environment is the number of processes, by default one.

    Raises:
        InputError: the config or the list does not allow the run, or the list's first files do not exist.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    entries = training_entries(cfg)
    missing = check_first_files(entries)
    plan = plan_of(cfg, entries, world)
    model = meta_model(cfg)
    cost = training_cost(model)
    lines = [
        str(cost),
        f"{plan}; on {world} process{'es' if world > 1 else ''}",
        describe_training_time(cost.macs * plan.clips / world, plan.steps),
    ]
    footprint = Footprint.of(model, cfg.TRAIN.PRECISION, cfg.TRAIN.EMA > 0)
    if footprint is not None:
        clips = cfg.TRAIN.BATCH_SIZE * cfg.DATA.REPEATS
        stage, checkpointing = cfg.DEEPSPEED.ZERO_STAGE, cfg.TRAIN.ACTIVATION_CHECKPOINTING
        memory = footprint.on_gpu(world, stage, checkpointing, clips)
        parts = (
            f"{name} {value / 2**30:.2f}" for name, value in (*vars(memory).items(), ("in all", memory.total))
        )
        lines.append(f"memory of each process in GiB, by formula: {', '.join(parts)}")
    if missing:
        lines.append(f"{cfg.DATA.TRAIN}: {missing}")
    return "\n".join(lines)
