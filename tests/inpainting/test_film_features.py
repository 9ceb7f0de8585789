"""Features of films of any length."""

import numpy as np
import pytest
import torch

from diffmae_video.inpainting.film_features import FilmFeatures


class Levels:
    """Each frame's level is its feature."""

    width = 4

    def __call__(self, clips):
        self.size = clips.shape
        return (clips.mean((1, 3, 4)) * 255).cpu()


@pytest.mark.parametrize(
    ("frames", "clips"),
    [
        (8, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (6, [[0, 1, 2, 3], [2, 3, 4, 5]]),
        (2, [[0, 1, 1, 1]]),
    ],
)
def test_clips_cover_the_film(frames, clips):
    network = Levels()
    features = FilmFeatures(network, 4)
    for level in range(frames):
        features.add(np.full((30, 40, 3), level, np.uint8))
    torch.testing.assert_close(features.mean(), torch.tensor(clips).float().mean(0))
    assert network.size == (1, 3, 4, 224, 224)
