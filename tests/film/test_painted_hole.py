"""Painted holes that stay, and that follow the camera."""

import numpy as np
import pytest
from PIL import Image

from diffmae_video import InputError
from diffmae_video.data import open_video
from diffmae_video.encoding.clips import write_video
from diffmae_video.film.canvas import Canvas
from diffmae_video.film.painted_hole import PaintedHole, follow_camera, shifted

SIZE = (96, 128)
CANVAS = Canvas(SIZE, SIZE, (8, 8), True)


@pytest.mark.parametrize("shift", [(0, 0), (3, -5), (-20, 40), (95, 127), (96, 0), (0, -500)])
def test_shifted_pictures_lose_what_leaves(shift):
    picture = np.random.default_rng(0).random(SIZE) < 0.3
    expected = np.zeros_like(picture)
    for y, x in np.argwhere(picture) + shift:
        if 0 <= y < SIZE[0] and 0 <= x < SIZE[1]:
            expected[y, x] = True
    assert np.array_equal(shifted(picture, *shift), expected)


def test_a_hole_is_shifted_frame_by_frame():
    picture = np.zeros(SIZE, bool)
    picture[10:20, 30:50] = True
    hole = PaintedHole(CANVAS, picture, np.array([[0.0, 0.0], [1.6, -2.4], [0, 100]]))
    assert [np.argwhere(frame)[0].tolist() if frame.any() else None for frame in hole.pixels(0, 3)] == [
        [10, 30],
        [12, 28],
        None,
    ]
    assert np.array_equal(hole.pixels(1, 2)[0], shifted(picture, 2, -2))
    with pytest.raises(InputError, match="nothing is painted"):
        PaintedHole(CANVAS, picture & False, np.zeros((3, 2)))


def test_a_hole_follows_the_camera_forwards_and_backwards(tmp_path):
    pytest.importorskip("cv2")
    coarse = np.random.default_rng(0).integers(0, 256, (40, 80, 3), np.uint8)
    scene = np.asarray(Image.fromarray(coarse).resize((400, 200), Image.Resampling.BICUBIC))
    frames = [scene[2 * i : 2 * i + SIZE[0], 5 * i : 5 * i + SIZE[1]] for i in range(40)]
    write_video(tmp_path / "pan.mp4", np.stack(frames), 25)
    picture = np.zeros(SIZE, bool)
    picture[60:80, 60:90] = True
    with open_video(tmp_path / "pan.mp4", "pyav") as video:
        shifts = follow_camera(video, picture, 15)
    expected = np.array([[-2.0 * (i - 15), -5.0 * (i - 15)] for i in range(40)])
    assert np.abs(shifts - expected).max() < 2
    assert shifts[15].tolist() == [0, 0]
