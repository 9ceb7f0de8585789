import numpy as np

from diffmae_video.film.pretended_holes import PretendedHoles
from diffmae_video.film.scene import Scene
from diffmae_video.film.scene_windows import WindowShape, frames_read
from tests.film.small_films import moving_box, panning

SHAPE = WindowShape((4, 4, 4), (2, 8, 8), 1)


def draws(own, count=60):
    scene = Scene(0, panning(24, step=(0, 0)), moving_box(24), np.zeros((24, 2), int))
    holes, rng = PretendedHoles(scene, own), np.random.default_rng(0)
    choice = SHAPE.frames_at(4, 1, [20], 24)
    every = frames_read(choice, 24)
    return [holes.draw(every, choice, SHAPE, rng).numpy() for _ in range(count)]


def test_most_masks_are_the_holes_shape_at_other_places():
    masks = draws(own=1.0)
    assert all(mask.any() for mask in masks)
    for mask in masks:  # a box of 14 pixels, or what the window shows of it
        rows, columns = np.nonzero(mask.any(0).any(1))[0], np.nonzero(mask[0].any(0))[0]
        assert rows[-1] - rows[0] < 14
        assert len(columns) <= 14
    places = {tuple(np.argwhere(mask)[0]) for mask in masks}
    assert len(places) > 30


def test_boxes_and_patches_stay_in_place_over_time():
    for mask in draws(own=0.0):
        assert mask.any()
        assert (mask == mask[0]).all()
