"""Fills and generated clips of several systems, each at its own size."""

import numpy as np
import pytest
import torch
from PIL import Image

from diffmae_video.inpainting.side_by_side import MASKS, SAMPLES, draw_mask, fill_held_out, generate
from diffmae_video.models import DDPM, MAE

SMALL = {"width": 32, "depth": 1, "heads": 1}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """An MAE of 32 pixels, and a DDPM of 16."""
    root = tmp_path_factory.mktemp("systems")
    torch.manual_seed(0)
    decoder = {"width": 32, "depth": 1, "heads": 1}
    MAE((32, 32), 1, (1, 8, 8), encoder=SMALL, decoder=decoder).save_pretrained(root / "mae")
    DDPM((16, 16), 1, (1, 4, 4), encoder=SMALL).save_pretrained(root / "ddpm")
    return {"ddpm": root / "ddpm", "mae": root / "mae"}


@pytest.fixture
def pictures(tmp_path):
    paths = []
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (32, 32, 3), np.uint8)
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def test_fills_differ_from_the_truth_only_under_the_mask(folders, pictures):
    shown = fill_held_out(folders, pictures)
    hidden = {"center": (slice(8, 24), slice(8, 24)), "lower": (slice(16, 32), slice(0, 32))}
    assert set(shown) == set(MASKS) == set(hidden)
    for name, rows in shown.items():
        assert len(rows) == 2
        is_hidden = np.zeros((32, 32), bool)
        is_hidden[hidden[name]] = True
        for row, path in zip(rows, pictures, strict=True):
            assert row.truth.shape == row.fills["mae"].shape == (1, 32, 32, 3)
            assert row.fills["ddpm"].shape == (1, 16, 16, 3)
            assert (row.truth[0] == np.asarray(Image.open(path))).all()
            assert (row.given[0][is_hidden] == 128).all()
            difference = np.abs(row.fills["mae"].astype(int) - row.truth)[0]
            assert difference[~is_hidden].max() <= 1
            assert difference[is_hidden].mean() > 20
            error = (difference[is_hidden] / 255) ** 2
            assert row.psnr["mae"] == pytest.approx(-10 * np.log10(error.mean()), abs=0.1)


def test_a_mask_is_the_same_for_all_clips():
    lower = draw_mask("lower", 2, (1, 4, 4)).to_bool()
    assert lower.tolist() == [[[[row >= 2] * 4 for row in range(4)]]] * 2


def test_only_generative_systems_generate(folders):
    made = generate(folders)
    assert list(made) == ["ddpm"]
    assert made["ddpm"].shape == (SAMPLES, 1, 16, 16, 3)
