"""What a backbone must see before the first step: pixels of the training pictures (iGPT's colours)."""

import torch
import torch.distributed as dist

from diffmae_video.data import ViewDataset
from diffmae_video.errors import InputError
from diffmae_video.models import Backbone
from diffmae_video.runtime.processes import Process


def prepare_backbone(backbone: Backbone, pictures: ViewDataset, seed: int, process: Process) -> None:
    """Calls ``prepare`` of a backbone that reads pixels first; does nothing for others.

    The main process reads the pictures, and the others receive the backbone's buffers from it.

    Raises:
        InputError: no picture can be read, or the pixels do not suffice.
    """
    if not backbone.reads_pixels_first:
        return
    if process.is_main:
        views = [pictures[i] for i in range(len(pictures))]
        pictures.decoder.stop()
        pixels = [view.clips.reshape(-1, 3) for view in views if not view.fault]
        if not pixels:
            raise InputError(f"DATA.TRAIN: none of its pictures can be read: {views[0].fault}")
        backbone.prepare(torch.cat(pixels), seed)
    if process.world > 1:
        for buffer in backbone.buffers():
            shared = buffer.to(process.device)
            dist.broadcast(shared, 0)
            buffer.copy_(shared)
