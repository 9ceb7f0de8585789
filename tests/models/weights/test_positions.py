"""The grid behind a table of positions."""

import pytest
import torch

from diffmae_video import InputError, load_encoder
from tests.models.weights.reference_vit import HEADS, D, Reference, mae_st_weights, save


def test_one_table_over_time_and_space_is_read_as_the_sizes_say(tmp_path):
    path = save(tmp_path / "w.pt", mae_st_weights(Reference(separable=False), separable=False))  # 2 x 4 x 4
    assert load_encoder(path, 32, 4, HEADS).grid == (2, 4, 4)
    assert load_encoder(path, (16, 64), 4, HEADS).positions.kind == "joint"
    assert load_encoder(path, (16, 64), 4, HEADS).grid == (2, 2, 8)
    assert load_encoder(path, 32, 8, HEADS).grid == (4, 4, 4)
    assert load_encoder(path, 64, 4, HEADS).grid == (2, 8, 8)
    for sizes in ({"num_frames": 4}, {"image_size": 32}):
        assert load_encoder(path, num_heads=HEADS, **sizes).grid == (2, 4, 4)
    with pytest.raises(InputError, match=r"fit \(2, 4, 4\) or \(8, 2, 2\); give the image_size"):
        load_encoder(path, 16, 4, HEADS)
    with pytest.raises(InputError, match="fit no grid of these sizes"):
        load_encoder(path, 40, 6, HEADS)
    usual = mae_st_weights(Reference(separable=False), separable=False)
    usual |= {"patch_embed.proj.weight": torch.zeros(D, 3, 2, 16, 16), "pos_embed": torch.zeros(1, 1568, D)}
    path = save(tmp_path / "w.pt", usual)
    assert load_encoder(path, 112, None, HEADS).grid == (
        8,
        7,
        7,
    )  # and not 32 steps of 7 x 7, taken as trained
    one = Reference(steps=8, separable=False)
    path = save(tmp_path / "w.pt", mae_st_weights(one, separable=False))
    assert load_encoder(path, num_heads=HEADS).grid == (8, 4, 4)  # 16 frames, square
