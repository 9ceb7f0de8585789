from dataclasses import replace

import numpy as np

from diffmae_video.film.rehearsals import (
    BLOCK,
    draw_rehearsals,
    fill_rehearsals,
    fill_scene,
    measured_base_fill,
)
from diffmae_video.film.scene import Scene
from tests.film.small_films import moving_box, panning


def scene(frames=24):
    pixels, hidden = panning(frames, step=(0, 0)), moving_box(frames)
    return Scene(
        0, np.where(hidden[..., None], 0, pixels).astype(np.uint8), hidden, np.zeros((frames, 2), int)
    )


def test_rehearsals_hide_known_pixels_at_many_places():
    film = scene()
    rehearsals = draw_rehearsals([film], [film], 14, seed=0)
    places = set()
    for rehearsal in rehearsals:
        assert not (rehearsal.pretended & rehearsal.hidden).any()
        places |= set(map(tuple, np.argwhere(rehearsal.pretended[12])[:1]))
    assert len(places) > 8
    assert 0.05 < np.mean([r.pretended.mean() for r in rehearsals]) < 0.5


def test_a_rehearsal_depends_on_its_number_alone():
    film = scene()
    few, many = (draw_rehearsals([film], [film], count, seed=3) for count in (2, 5))
    for one, two in zip(few, many, strict=False):
        assert (one.pretended == two.pretended).all()


def test_places_kept_from_training_stay_hidden(tmp_path):
    film = scene()
    held_out = film.hidden.copy()
    held_out[:, 2:12, 40:60] = True
    shown = replace(film, hidden=held_out)
    for number, rehearsal in enumerate(draw_rehearsals([shown], [film], 6, seed=0)):
        assert not rehearsal.pretended[:, 2:12, 40:60].any(), number


def test_a_rehearsal_is_filled_without_its_own_pixels(tmp_path):
    film = scene()
    drawn = draw_rehearsals([film], [film], 3, seed=0)
    base_fill = measured_base_fill(drawn)
    noise = np.random.default_rng(0).integers(0, 256, film.pixels.shape).astype(np.uint8)
    other = [replace(r, pixels=np.where(r.pretended[..., None], noise, r.pixels)) for r in drawn]
    for name, rehearsals in (("one", drawn), ("two", other)):
        (tmp_path / name).mkdir()
        filled = fill_rehearsals(base_fill, rehearsals, tmp_path / name)
        for rehearsal, before in zip(filled, rehearsals, strict=True):
            known = ~(rehearsal.hidden | rehearsal.pretended)
            assert (rehearsal.filled[known] == before.pixels[known]).all()
    for path in (tmp_path / "one").iterdir():
        assert (np.load(path) == np.load(tmp_path / "two" / path.name)).all()


def test_a_long_scene_is_filled_block_by_block(tmp_path):
    film = scene(BLOCK + 10)
    base_fill = measured_base_fill(draw_rehearsals([film], [film], 3, seed=0))
    filled = fill_scene(base_fill, film, tmp_path / "filled.npy").filled
    truth = panning(BLOCK + 10, step=(0, 0))
    assert np.abs(filled.astype(int) - truth)[film.hidden].mean() < 4
    assert (filled == np.load(tmp_path / "filled.npy")).all()
