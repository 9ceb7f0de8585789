"""iGPT's colours: clusters of pixels, by scikit-learn's k-means."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from diffmae_video.errors import InputError, require

PIXELS = 2**18  # at most as many are clustered (our choice)


def colour_clusters(pixels: np.ndarray, count: int, seed: int) -> Tensor:
    """The centres of ``count`` clusters of pixels uint8 [n, 3]: float32 [count, 3] in 0..255.

    Args:
        seed: of the k-means and of the pixels that are drawn where there are many.

    Raises:
        InputError: the pixels have fewer colours.
    """
    pixels = pixels[np.random.default_rng(seed).permutation(len(pixels))[:PIXELS]]
    distinct = len(np.unique(pixels, axis=0))
    if distinct < count:
        raise InputError(
            f"MODEL.IGPT.COLOURS: the pictures have {distinct} colours, too few for {count} clusters; set it "
            f"to {distinct} or less"
        )
    kmeans = require("sklearn.cluster", "compare").MiniBatchKMeans(
        count, random_state=seed, batch_size=4096, n_init=1
    )
    return torch.from_numpy(kmeans.fit(pixels.astype(np.float32)).cluster_centers_).float()
