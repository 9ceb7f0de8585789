"""Clusters of pixels whose colours are known."""

import numpy as np
import pytest
import torch

from diffmae_video import InputError
from diffmae_video.models.colours import colour_clusters

COLOURS = np.array([[250, 10, 10], [10, 240, 20], [5, 5, 200], [255, 255, 255]], np.uint8)


def test_clusters_are_the_colours_that_are_there():
    chance = np.random.default_rng(0)
    pixels = COLOURS[chance.integers(0, 4, 2000)].astype(int) + chance.integers(-4, 5, (2000, 3))
    pixels = pixels.clip(0, 255).astype(np.uint8)
    found = colour_clusters(pixels, 4, seed=0)
    distance = torch.cdist(found, torch.from_numpy(COLOURS).float())
    assert sorted(distance.argmin(1).tolist()) == [0, 1, 2, 3]
    assert distance.min(1).values.max() < 4
    assert torch.equal(found, colour_clusters(pixels, 4, seed=0))
    with pytest.raises(InputError, match=r"have 4 colours, too few for 5 clusters"):
        colour_clusters(COLOURS, 5, seed=0)
