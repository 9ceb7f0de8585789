"""Growing and feathering against slow loops."""

import numpy as np
import pytest

from diffmae_video.film.hole_edges import grow, opacity, paste


def slow_distance(mask):
    """From every pixel to the nearest one of the mask."""
    places = np.argwhere(mask)
    return np.array([[np.hypot(*(places - (y, x)).T).min() for x in range(24)] for y in range(20)])


@pytest.fixture
def mask():
    mask = np.random.default_rng(0).random((20, 24)) < 0.02
    mask[15:, 20:] = True  # reaches the frame's border
    return mask


@pytest.mark.parametrize("pixels", [0, 1, 2, 5, 40])
def test_growing_adds_what_lies_near(mask, pixels):
    assert np.array_equal(grow(mask, pixels), slow_distance(mask) <= pixels)
    assert not grow(mask & False, pixels).any()


@pytest.mark.parametrize("feather", [1, 2, 3, 7])
def test_feathering_fades_outwards_and_shows_nothing_of_the_object(mask, feather):
    hole = grow(mask, feather)
    share = opacity(hole, feather)
    assert (share[mask] == 1).all()
    assert (share[~hole] == 0).all()
    assert ((share > 0) & (share < 1))[hole & ~mask].any()
    assert np.allclose(share, np.minimum(slow_distance(~hole) / np.sqrt(feather**2 + 1), 1))
    fill, frame = np.random.default_rng(1).integers(0, 256, (2, 20, 24, 3), np.uint8)
    pasted = paste(frame, fill, hole, feather)
    assert np.array_equal(pasted[mask], fill[mask])
    assert np.array_equal(pasted[~hole], frame[~hole])
    assert np.array_equal(pasted, paste(np.where(mask[..., None], 255 - frame, frame), fill, hole, feather))
    expected = share[..., None] * fill.astype(float) + (1 - share[..., None]) * frame
    assert np.abs(pasted - expected).max() <= 0.5 + 1e-3


def test_a_hole_that_is_everything_has_no_edge():
    assert (opacity(np.ones((5, 6), bool), 3) == 1).all()
