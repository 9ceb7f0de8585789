"""iGPT's colours: clusters of the training pictures' pixels, by scikit-learn's k-means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.distributed as dist
from fvcore.common.config import CfgNode
from torch import Tensor

from diffmae_video.build import view_dataset
from diffmae_video.data import Entry
from diffmae_video.data.lists import spread
from diffmae_video.errors import InputError, require
from diffmae_video.models import PixelGPT
from diffmae_video.runtime.processes import Process

PICTURES, PIXELS = 1024, 2**18  # that are looked at, at most (our choice)


def colour_clusters(pixels: np.ndarray, count: int, seed: int) -> Tensor:
    """The centres of ``count`` clusters of pixels uint8 [n, 3]: float32 [count, 3] in 0..255.

    Raises:
        InputError: the pixels have fewer colours.
    """
    found = len(np.unique(pixels, axis=0))
    if found < count:
        raise InputError(
            f"MODEL.IGPT.COLOURS: {count} clusters of the {found} colours that the pictures have; set fewer"
        )
    kmeans = require("sklearn.cluster", "compare").MiniBatchKMeans(
        count, random_state=seed, batch_size=4096, n_init=1
    )
    return torch.from_numpy(kmeans.fit(pixels.astype(np.float32)).cluster_centers_).float()


def give_colours(backbone: PixelGPT, cfg: CfgNode, entries: Sequence[Entry], process: Process) -> None:
    """Sets a network's colours by the training pictures; the main process finds them for all.

    Raises:
        InputError: no picture can be read, or they have too few colours.
    """
    palette = torch.zeros_like(backbone.palette)
    if process.is_main:
        dataset = view_dataset(cfg, spread(entries, PICTURES), 1, policy="skip")
        views = [dataset[i] for i in range(len(dataset))]
        dataset.decoder.stop()
        clips = [view.clips.reshape(-1, 3) for view in views if not view.fault]
        if not clips:
            raise InputError(f"{cfg.DATA.TRAIN}: none of its pictures can be read: {views[0].fault}")
        pixels = torch.cat(clips).numpy()
        chosen = np.random.default_rng(cfg.TRAIN.SEED).permutation(len(pixels))[:PIXELS]
        palette = colour_clusters(pixels[chosen], len(palette), cfg.TRAIN.SEED)
    if process.world > 1:
        palette = palette.to(process.device)
        dist.broadcast(palette, 0)
    backbone.set_palette(palette)
