from dataclasses import replace

import numpy as np

from diffmae_video.film.scene import Scene
from diffmae_video.film.scene_windows import WindowShape, cut_window
from tests.film.small_films import moving_box, panning

SHAPE = WindowShape((4, 4, 4), (2, 8, 8), 1)


def scene():
    frames, hidden = panning(24, step=(0, 0)), moving_box(24)
    return Scene(0, np.where(hidden[..., None], 0, frames).astype(np.uint8), hidden, np.zeros((24, 2), int))


def test_times_are_those_of_the_frames():
    choice = SHAPE.frames_at(4, 3, [20], 24)
    assert choice.frames.tolist() == [4, 5, 10, 11, 16, 17, 20, 21]
    assert choice.times.tolist() == [0, 3, 6, 8]


def test_a_short_scene_repeats_its_last_frame():
    assert SHAPE.frames_at(0, 1, [0], 3).frames.tolist() == [0, 1, 0, 1, 2, 2, 2, 2]


def test_the_holes_patches_are_the_targets_of_a_fill():
    choice = SHAPE.frames_at(0, 1, [20], 24)
    window = cut_window(scene(), SHAPE, choice, (8, 8))
    hidden = scene().hidden[choice.frames, 8:40, 8:40]
    patches = hidden.reshape(4, 2, 4, 8, 4, 8).any((1, 3, 5))
    assert (window.masked.numpy() == patches).all()
    assert window.visible.all()


def test_targets_of_training_touch_nothing_that_is_really_hidden():
    choice = SHAPE.frames_at(0, 1, [20], 24)
    rehearsal = replace(scene(), pretended=~scene().hidden)
    window = cut_window(rehearsal, SHAPE, choice, (8, 8))
    hidden = scene().hidden[choice.frames, 8:40, 8:40]
    patches = hidden.reshape(4, 2, 4, 8, 4, 8).any((1, 3, 5))
    assert (window.masked.numpy() == ~patches).all()
    assert window.masked.any()


def test_patches_outside_of_a_frame_are_neither_visible_nor_targets():
    shifted = Scene(0, scene().pixels, scene().hidden, np.array([[0, 3 * t] for t in range(24)]))
    choice = SHAPE.frames_at(0, 1, [20], 24)
    window = cut_window(shifted, SHAPE, choice, (0, 48))
    assert not window.visible[0, :, 3].any()
    assert window.visible[-1].any()
