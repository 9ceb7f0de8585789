import numpy as np
import pytest

from diffmae_video.film.propagation import carry, find_flows
from tests.film.small_films import panning, textured


def hole(frames, height=64, width=96):
    """A box of 20 pixels that stands still while the camera pans."""
    hidden = np.zeros((frames, height, width), bool)
    hidden[:, 22:42, 38:58] = True
    return hidden


@pytest.mark.parametrize("is_later", [False, True])
def test_a_pan_shows_what_a_still_hole_hides(is_later):
    truth, hidden = panning(16, 64, 96, step=(0, 3)), hole(16)
    frames = np.where(hidden[..., None], np.uint8(128), truth)
    carried = carry(frames, hidden, hidden, find_flows(frames, hidden, 5, 50), is_later)
    i = 15 if not is_later else 0  # has the most frames to take colours from
    error = np.abs(carried[i].colours - truth[i][hidden[i]])
    assert np.isfinite(carried[i].hops).all()
    assert np.median(error) < 10  # the picture's levels are spread over more than 100
    # What is seen moves to the left by 3 pixels a frame: it was beyond the right side of the box before, and
    # will be beyond the left side later.
    columns = np.nonzero(hidden[i])[1]
    distance = columns - 37 if is_later else 58 - columns
    assert np.corrcoef(distance, carried[i].hops)[0, 1] > 0.9


def test_the_first_frame_has_no_earlier_one():
    truth, hidden = panning(4, 64, 96), hole(4)
    assert np.isinf(carry(truth, hidden, hidden, find_flows(truth, hidden, 5, 50), False)[0].hops).all()
    assert np.isinf(carry(truth, hidden, hidden, find_flows(truth, hidden, 5, 50), True)[3].hops).all()


def test_a_still_film_brings_the_same_colours():
    picture = textured(64, 96)
    hidden = hole(3)
    hidden[0] = False
    frames = np.where(hidden[..., None], np.uint8(128), picture)
    carried = carry(frames, hidden, hidden, find_flows(frames, hidden, 5, 50), False)
    for i in (1, 2):
        assert (carried[i].hops == i).all()
        assert np.abs(carried[i].colours - picture[hidden[i]]).mean() < 2


def test_an_object_at_the_edge_of_a_wide_hole_does_not_drag_the_background_along():
    """A post that moves against the pan stands beside the hole; deep inside, the camera's motion counts."""
    truth = panning(4, 96, 200, step=(0, 3))
    post = textured(96, 16, seed=5)
    for i in range(4):
        truth[i][:, 40 + 4 * i : 56 + 4 * i] = post
    hidden = np.zeros((4, 96, 200), bool)
    hidden[2, :, 64:170] = True  # the post ends at column 64
    frames = np.where(hidden[..., None], np.uint8(128), truth)
    columns = np.nonzero(hidden[2])[1]
    middle = (columns > 95) & (columns < 140)
    errors = []
    for deep in (19, 1e6):
        carried = carry(frames, hidden, hidden, find_flows(frames, hidden, 5, deep), True)[2]
        errors.append(np.abs(carried.colours - truth[2][hidden[2]])[middle].mean())
    assert errors[0] < 0.7 * errors[1]


def test_a_known_pixel_is_predicted_from_other_frames():
    frames = np.stack([np.full((32, 32, 3), v, np.uint8) for v in (10, 200)])
    wanted = np.zeros((2, 32, 32), bool)
    wanted[1, 10:20, 10:20] = True
    carried = carry(
        frames, np.zeros_like(wanted), wanted, find_flows(frames, np.zeros_like(wanted), 5, 50), False
    )[1]
    assert (carried.colours == 10).all()
    assert (carried.hops == 1).all()


def test_pictures_smaller_than_the_flow_wants():
    frames = np.full((2, 9, 11, 3), 50, np.uint8)
    hidden = np.zeros((2, 9, 11), bool)
    hidden[1, 3:6, 3:6] = True
    assert (carry(frames, hidden, hidden, find_flows(frames, hidden, 5, 50), False)[1].colours == 50).all()


def test_what_lies_just_outside_of_the_other_frames_continues_their_border():
    truth = panning(4, 64, 96, step=(3, 0))  # the rows at the bottom come into view
    hidden = np.zeros((4, 64, 96), bool)
    hidden[3, 40:, 30:60] = True
    frames = np.where(hidden[..., None], np.uint8(128), truth)
    carried = carry(frames, hidden, hidden, find_flows(frames, hidden, 5, 50), False)[3]
    rows, columns = np.nonzero(hidden[3])
    bottom = rows >= 61  # not in any other frame
    assert np.isfinite(carried.hops[bottom]).all()
    assert np.abs(carried.colours[bottom] - truth[2][63, columns[bottom]]).mean() < 10
