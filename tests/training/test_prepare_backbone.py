"""A backbone that reads pixels first gets those of the training pictures; others read none."""

import numpy as np
import pytest
import torch
from PIL import Image

from diffmae_video import InputError, load_config
from diffmae_video.data import Entry
from diffmae_video.models import Encoder, PixelGPT
from diffmae_video.runtime.processes import Process
from diffmae_video.training.from_config import pictures_for_preparation
from diffmae_video.training.prepare_backbone import prepare_backbone

ALONE = Process(0, 1, torch.device("cpu"))
COLOURS = np.array([[250, 10, 10], [10, 240, 20], [5, 5, 200], [255, 255, 255]], np.uint8)


def test_the_colours_of_the_training_pictures_become_the_palette(tmp_path):
    for i in range(4):
        Image.fromarray(COLOURS[[[i, i], [i, (i + 1) % 4]]].repeat(4, 0).repeat(4, 1)).save(
            tmp_path / f"{i}.png"
        )
    (tmp_path / "broken.png").write_text("no picture")
    entries = [Entry(str(path)) for path in sorted(tmp_path.iterdir())]
    cfg = load_config(None, ["DATA.NUM_FRAMES", 1, "DATA.STRIDE", 1, "DATA.SIZE", 8])
    backbone = PixelGPT((8, 8), 1, (1, 4, 4), width=16, depth=1, heads=1, colours=4)
    prepare_backbone(backbone, pictures_for_preparation(cfg, entries), 0, ALONE)
    assert {tuple(row) for row in backbone.palette.int().tolist()} == {tuple(row) for row in COLOURS.tolist()}
    with pytest.raises(InputError, match="none of its pictures can be read"):
        prepare_backbone(backbone, pictures_for_preparation(cfg, entries[-1:]), 0, ALONE)


def test_a_backbone_that_needs_no_pixels_reads_no_pictures():
    encoder = Encoder((8, 8), 1, (1, 4, 4), width=16, depth=1, heads=1)
    missing = pictures_for_preparation(load_config(None, []), [Entry("missing.png")])
    prepare_backbone(encoder, missing, 0, ALONE)
