import numpy as np

from diffmae_video.film.scene import Scene, offsets_of
from tests.film.small_films import moving_box, panning


def test_the_canvas_shows_the_same_place_in_every_frame():
    frames = panning(6, step=(1, 3))
    scene = Scene(
        0, frames, np.zeros(frames.shape[:3], bool), offsets_of(np.array([[0, 0], *[[-1, -3]] * 5]))
    )
    cut = scene.cut(np.arange(6), 10, 20, 16, 24)
    assert cut.known.all()
    assert (cut.pixels == cut.pixels[0]).all()
    assert scene.canvas_size == (48 + 5, 64 + 15)


def test_outside_of_a_frame_nothing_is_known_or_hidden():
    frames = panning(2, step=(0, 8))
    scene = Scene(0, frames, np.zeros(frames.shape[:3], bool), np.array([[0, 0], [0, 8]]))
    cut = scene.cut(np.arange(2), 0, 60, 8, 12)
    assert cut.known.sum(2)[:, 0].tolist() == [4, 12]
    assert not cut.hidden.any()
    assert (cut.pixels[0, :, 4:] == 0).all()


def test_the_hole_is_hidden_and_not_known():
    frames, hidden = panning(2), moving_box(2)
    scene = Scene(0, frames, hidden, np.zeros((2, 2), int))
    cut = scene.cut(np.arange(2), 0, 0, 48, 64)
    assert (cut.hidden.numpy() == hidden).all()
    assert (cut.known.numpy() == ~hidden).all()
