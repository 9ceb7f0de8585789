import numpy as np

from diffmae_video.film.held_out import Place, choose_places, hold_out, moved_hole
from diffmae_video.film.scene import Scene
from tests.film.small_films import moving_box, panning


def scene(offsets=None):
    offsets = np.zeros((12, 2), int) if offsets is None else offsets
    return Scene(0, panning(12, 96, 128), moving_box(12, 96, 128), offsets)


def test_a_place_is_the_hole_moved_mirrored_or_reversed():
    hidden = scene().hidden
    assert (moved_hole(scene(), Place(5, -7, False, False), 3)[5:, :-7] == hidden[3, :-5, 7:]).all()
    assert (moved_hole(scene(), Place(0, 0, True, True), 3) == hidden[8, :, ::-1]).all()


def test_a_place_follows_the_camera():
    offsets = np.array([[0, 4 * t] for t in range(12)])
    moved = moved_hole(scene(offsets), Place(0, 0, False, True), 0)  # frame 11 lies 44 pixels further right
    assert (moved[:, 44:] == scene().hidden[11, :, :-44]).all()


def test_places_lie_on_known_pixels_and_apart():
    chosen = choose_places(scene(), np.random.default_rng(0))
    assert len(chosen) == 2
    masks = [np.stack([moved_hole(scene(), place, f) for f in range(12)]) for place in chosen]
    hidden = scene().hidden
    for mask in masks:
        assert (mask & ~hidden).sum() > 0.5 * hidden.sum()
    assert (masks[0] & masks[1]).sum() < 0.3 * hidden.sum()


def test_training_is_not_shown_the_places(tmp_path):
    place = Place(30, 10, False, False)
    shown = hold_out(scene(), [place], tmp_path / "held-out.npy")
    for frame in range(12):
        assert (shown.hidden[frame] == scene().hidden[frame] | moved_hole(scene(), place, frame)).all()
