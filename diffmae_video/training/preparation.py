"""What a backbone must see before the first step: pixels of the training pictures (iGPT's colours)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from fvcore.common.config import CfgNode

from diffmae_video.build import view_dataset
from diffmae_video.data import Entry
from diffmae_video.data.lists import spread
from diffmae_video.errors import InputError
from diffmae_video.models import Backbone
from diffmae_video.runtime.processes import Process

PICTURES = 1024  # at most as many are read (our choice)


def prepare_backbone(backbone: Backbone, cfg: CfgNode, entries: Sequence[Entry], process: Process) -> None:
    """Calls ``prepare`` of a backbone that reads pixels first, and does nothing for others.

    The main process reads the pictures; the other processes get its buffers.

    Raises:
        InputError: no picture can be read, or the pixels do not suffice.
    """
    if not backbone.reads_pixels_first:
        return
    if process.is_main:
        dataset = view_dataset(cfg, spread(entries, PICTURES), 1, policy="skip")
        views = [dataset[i] for i in range(len(dataset))]
        dataset.decoder.stop()
        pixels = [view.clips.reshape(-1, 3) for view in views if not view.fault]
        if not pixels:
            raise InputError(f"{cfg.DATA.TRAIN}: none of its pictures can be read: {views[0].fault}")
        backbone.prepare(torch.cat(pixels), cfg.TRAIN.SEED)
    if process.world > 1:
        for buffer in backbone.buffers():
            shared = buffer.to(process.device)
            dist.broadcast(shared, 0)
            buffer.copy_(shared)
