"""Display matrices, and pictures turned and mirrored by them."""

import numpy as np
import pytest

from diffmae_video.decoding.orientation import Orientation

PICTURE = np.arange(6).reshape(2, 3)
ONE = 1 << 16


@pytest.mark.parametrize(
    ("matrix", "upright"),
    [
        ((ONE, 0, 0, ONE), PICTURE),
        ((-ONE, 0, 0, -ONE), np.rot90(PICTURE, 2)),
        ((0, ONE, -ONE, 0), np.rot90(PICTURE, -1)),  # a quarter turn clockwise
        ((0, -ONE, ONE, 0), np.rot90(PICTURE, 1)),
        ((-ONE, 0, 0, ONE), PICTURE[:, ::-1]),
        ((ONE, 0, 0, -ONE), PICTURE[::-1]),
        ((0, ONE, ONE, 0), PICTURE.T),
        ((ONE, ONE // 9, -ONE // 9, ONE), PICTURE),  # the nearest quarter turn
    ],
)
def test_a_matrix_turns_and_mirrors_a_picture(matrix, upright):
    a, b, c, d = matrix
    orientation = Orientation.from_matrix((a, b, 0, c, d, 0, 0, 0, 1 << 30))
    assert np.array_equal(orientation.upright(PICTURE), upright)
