"""Engines of a tiny model in this process, for tests."""

import os
from unittest.mock import patch

import torch

from diffmae_video import load_config
from diffmae_video.masks import Mask
from diffmae_video.runtime.processes import start_process
from diffmae_video.training.engine import build_engine, spread_non_finite, take_step
from diffmae_video.training.from_config import engine_options
from diffmae_video.training.optimizer import build_optimizer
from tests.repository import ROOT
from tests.tiny_models import tiny_diffmae

RATE = 1e-2


def config(*options):
    return load_config(
        ROOT / "configs/demo/pretrain.yaml", ["DATA.REPEATS", 1, "TRAIN.CLIP_GRAD", 0, *options]
    )


def engine_of(stage=0, precision="fp32", model=None, *options):
    """An engine whose model is always the same at its start."""
    if model is None:
        torch.manual_seed(0)
        model = tiny_diffmae(encoder={"class_token": True})
    cfg = config("DEEPSPEED.ZERO_STAGE", stage, *options)
    optimizer = build_optimizer(model, 0.05, (0.9, 0.95), kind=cfg.TRAIN.OPTIMIZER)
    with patch.dict(os.environ):  # what a start sets in it is not for the runs of later tests
        engine = build_engine(
            model, optimizer, start_process(), engine_options(cfg, precision, cfg.TRAIN.COMPILE == "true")
        )
    os.environ["LOCAL_RANK"] = "0"  # but for this, which DeepSpeed reads in each step at stage 3
    engine.train()
    return engine


def task(step):
    """Clips, mask, timesteps and noise of a step."""
    generator = torch.Generator().manual_seed(step)
    clip = torch.randn(2, 3, 4, 32, 32, generator=generator)
    mask = Mask.random(2, (2, 4, 4), 0.75, generator)
    return {
        "clip": clip,
        "mask": mask,
        "t": torch.randint(1, 1001, (2,), generator=generator),
        "noise": torch.randn(2, mask.masked.shape[1], 384, generator=generator),
    }


def train_step(engine, step, shift=0.0):
    """A step on the task of its number; ``shift`` is added to its loss."""
    for group in engine.optimizer.param_groups:
        group["lr"] = RATE
    loss = engine(**task(step)).loss + shift
    engine.backward(spread_non_finite(loss))
    return take_step(engine), loss.item()
