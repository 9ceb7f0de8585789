"""iGPT's colours, of pictures whose colours are known."""

import numpy as np
import pytest
import torch
from PIL import Image

from diffmae_video import InputError, load_config
from diffmae_video.data import Entry
from diffmae_video.models import PixelGPT
from diffmae_video.models.colours import colour_clusters
from diffmae_video.runtime.processes import Process
from diffmae_video.training.preparation import prepare_backbone

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


def test_a_network_gets_those_of_the_training_pictures(tmp_path):
    for i in range(4):
        Image.fromarray(COLOURS[[[i, i], [i, (i + 1) % 4]]].repeat(4, 0).repeat(4, 1)).save(
            tmp_path / f"{i}.png"
        )
    (tmp_path / "broken.png").write_text("no picture")
    entries = [Entry(str(path)) for path in sorted(tmp_path.iterdir())]
    cfg = load_config(None, ["DATA.NUM_FRAMES", 1, "DATA.STRIDE", 1, "DATA.SIZE", 8])
    backbone = PixelGPT((8, 8), 1, (1, 4, 4), width=16, depth=1, heads=1, colours=4)
    prepare_backbone(backbone, cfg, entries, Process(0, 1, torch.device("cpu")))
    assert {tuple(row) for row in backbone.palette.int().tolist()} == {tuple(row) for row in COLOURS.tolist()}
    with pytest.raises(InputError, match="none of its pictures can be read"):
        prepare_backbone(backbone, cfg, entries[-1:], Process(0, 1, torch.device("cpu")))
