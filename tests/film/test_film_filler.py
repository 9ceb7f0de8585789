"""Filling a film stretch by stretch."""

import numpy as np
import pytest

from diffmae_video import InputError
from diffmae_video.data import open_video
from diffmae_video.encoding.clips import write_video
from diffmae_video.film import film_filler
from diffmae_video.film.canvas import Canvas
from diffmae_video.film.film_filler import FilmFiller, SamplerOptions
from diffmae_video.film.holes import BoxHole
from tests.tiny_models import tiny_diffmae

OPTIONS = SamplerOptions("ddim", 2, seed=0, samples=2, keeps_steps=True, precision="fp32")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Eleven frames of 48 x 40."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    write_video(path, np.random.default_rng(0).integers(0, 255, (11, 40, 48, 3), np.uint8), 5)
    return path


@pytest.fixture(scope="module")
def model():
    return tiny_diffmae()


def fill(path, model, box=(5, 6, 20, 14), tiles=False):
    with open_video(path, "pyav") as video:
        canvas = Canvas.for_film((video.height, video.width), model.encoder.grid, model.patch, tiles)
        filler = FilmFiller(model, video, BoxHole(canvas, [(box, None)], video.times), OPTIONS)
        frames = [(frame, list(frame.steps)) for frame in filler]
    return filler, frames


@pytest.mark.parametrize("tiles", [False, True])
def test_every_frame_is_filled_once_and_in_order(path, model, tiles):
    filler, frames = fill(path, model, tiles=tiles)
    assert [frame.number for frame, _ in frames] == list(range(11))
    for frame, steps in frames:
        assert len(frame.samples) == len(steps) == len(filler.timesteps) == 2
        for picture in (*frame.samples, *steps):
            assert np.array_equal(picture[~frame.hole], frame.truth[~frame.hole])
        assert np.abs(steps[-1].astype(int) - frame.samples[0]).max() <= 1
        assert not np.array_equal(frame.samples[0], frame.samples[1])


def test_noise_depends_on_the_frame_and_not_on_the_stretch(path, model, monkeypatch):
    """Stretches of one clip are filled like one of all clips, apart from what only later clips see."""
    _, whole = fill(path, model)
    monkeypatch.setattr(film_filler, "MAX_STEPS_IN_TIME", 1)
    filler, cut = fill(path, model)
    assert len(filler.stretches) > 3
    pairs = zip(whole, cut, strict=True)
    differences = [np.abs(a.samples[0].astype(int) - b.samples[0])[a.hole].mean() for (a, _), (b, _) in pairs]
    assert max(differences) < 30  # of 255; fresh noise would be as far as another sample
    others = [np.abs(a.samples[0].astype(int) - a.samples[1])[a.hole].mean() for a, _ in whole]
    assert min(others) > max(differences)


def test_memory_bounds_a_stretch(path, model, monkeypatch):
    monkeypatch.setattr(film_filler, "STRETCH_BYTES", 1)
    filler, _ = fill(path, model)
    assert all(len(stretch.clips) == 1 for stretch in filler.stretches)


def test_a_clip_without_visible_patches_is_refused(path, model):
    with pytest.raises(InputError, match=r"hides the whole frame in all 4 frames .* around frames 0 to "):
        fill(path, model, box=(0, 0, 48, 40))
