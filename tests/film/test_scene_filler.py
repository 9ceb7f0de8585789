import numpy as np
import pytest
import torch

from diffmae_video.film.base_fill import CLASSES, BaseFill
from diffmae_video.film.fit_windows import Colours
from diffmae_video.film.rehearsals import fill_scene
from diffmae_video.film.scene import Scene
from diffmae_video.film.scene_filler import SceneFiller
from diffmae_video.film.scene_windows import WindowShape
from diffmae_video.models import DiffMAE
from tests.film.small_films import moving_box, panning

SHAPE = WindowShape((4, 4, 4), (2, 8, 8), 1)
COLOURS = Colours((120.0, 120.0, 120.0), (60.0, 60.0, 60.0), 20.0)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    narrow = {"width": 32, "depth": 1, "heads": 2, "positions": "rope"}
    arguments = {"encoder": narrow, "decoder": {"kind": "cross", **narrow}, "token_timesteps": True}
    return DiffMAE((32, 32), 8, (2, 8, 8), **arguments).eval()


def filler(model, frames):
    pixels, hidden = panning(frames, step=(0, 0)), moving_box(frames)
    scene = Scene(
        0, np.where(hidden[..., None], 0, pixels).astype(np.uint8), hidden, np.zeros((frames, 2), int)
    )
    scene = fill_scene(BaseFill(np.ones(len(CLASSES)), 5), scene)
    return SceneFiller(model, scene, SHAPE, COLOURS, 0, frames, hidden), pixels, hidden


@pytest.mark.parametrize("frames", [1, 3, 12])
def test_only_the_hole_is_filled(model, frames):
    scene_filler, pixels, hidden = filler(model, frames)
    for kind, filled in scene_filler.all_fills("ddim", 2, seed=0).items():
        assert (filled[~hidden] == pixels[~hidden]).all(), kind
        assert (filled[hidden] > 0).any(), kind
    assert (scene_filler.total[scene_filler.region] > 0).all()  # every hidden pixel is predicted


def test_without_a_correction_the_base_fill_is_shown(model):
    scene_filler, pixels, hidden = filler(model, 12)
    shown = scene_filler.fill("base", "ddim", 2, seed=0, sample=1)
    assert (shown == scene_filler.frames(torch.zeros_like(scene_filler.base))).all()
    error = np.abs(shown.astype(float) - pixels)[hidden].mean()
    assert error < 3  # the scene stands still, so other times show what is hidden


def test_a_fill_depends_on_the_seed_alone(model):
    scene_filler, _, hidden = filler(model, 4)
    one, again, other = (scene_filler.fill("sample", "ddim", 2, seed, 1) for seed in (0, 0, 1))
    assert (one == again).all()
    assert (one[hidden] != other[hidden]).any()
