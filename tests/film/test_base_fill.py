import cv2
import numpy as np

from diffmae_video.film.base_fill import CLASSES, BaseFill, _without_steps, inpaint_frames, surroundings
from tests.film.small_films import moving_box, panning, textured

COUNT = len(CLASSES)
CARRIED, AROUND = BaseFill(np.ones(COUNT), 5), BaseFill(np.zeros(COUNT), 5)


def error(filled, truth, hidden):
    return float(np.sqrt(((filled.astype(float) - truth)[hidden] ** 2).mean()))


def test_what_a_pan_reveals_is_filled_far_better_than_by_inpainting():
    truth, hidden = panning(16, 64, 96, step=(0, 3)), moving_box(16, 64, 96, side=24)
    frames = np.where(hidden[..., None], np.uint8(0), truth)
    assert error(CARRIED(frames, hidden), truth, hidden) < 0.3 * error(AROUND(frames, hidden), truth, hidden)


def test_known_pixels_stay():
    truth, hidden = panning(6, 48, 64), moving_box(6)
    filled = CARRIED(np.where(hidden[..., None], np.uint8(0), truth), hidden)
    assert (filled[~hidden] == truth[~hidden]).all()


def test_hidden_pixels_are_not_read():
    truth, hidden = panning(6, 48, 64), moving_box(6)
    noise = np.random.default_rng(0).integers(0, 256, truth.shape).astype(np.uint8)
    one, two = (CARRIED(np.where(hidden[..., None], under, truth), hidden) for under in (np.uint8(0), noise))
    assert (one == two).all()


def test_what_no_frame_shows_is_inpainted():
    truth, hidden = np.stack([textured(48, 64)] * 4), np.zeros((4, 48, 64), bool)
    hidden[:, 16:30, 20:34] = True
    frames = np.where(hidden[..., None], np.uint8(0), truth)
    expected = cv2.inpaint(frames[0], hidden[0].astype(np.uint8), 3, cv2.INPAINT_NS)
    assert np.abs(CARRIED(frames, hidden)[0].astype(int) - expected).max() <= 1


def test_carried_colours_follow_a_change_of_light():
    picture = textured(48, 64) // 2
    truth = np.stack([picture + 12, picture])
    hidden = np.zeros((2, 48, 64), bool)
    hidden[1, 16:30, 20:34] = True
    filled = CARRIED(np.where(hidden[..., None], np.uint8(0), truth), hidden)
    assert error(filled, truth, hidden) < 4  # without the shift at the rim it is about 12


def test_a_frame_that_is_hidden_as_a_whole():
    truth = np.stack([textured(48, 64)] * 3)
    hidden = np.zeros((3, 48, 64), bool)
    hidden[1] = True
    filled = CARRIED(np.where(hidden[..., None], np.uint8(0), truth), hidden)
    assert error(filled, truth, hidden) < 2
    assert (inpaint_frames(truth, hidden)[1] == 0).all()


def test_a_film_without_a_hole():
    truth = panning(3, 48, 64)
    assert (CARRIED(truth, np.zeros(truth.shape[:3], bool)) == truth).all()


def test_the_share_follows_what_is_better_in_the_film():
    hidden = np.zeros((8, 64, 96), bool)
    pretended = moving_box(8, 64, 96, side=24)
    pan = panning(8, 64, 96)
    noise = np.random.default_rng(0).integers(100, 156, pan.shape).astype(np.uint8)  # nothing can be followed
    followed = BaseFill.measured([(pan, hidden, pretended)])
    unrelated = BaseFill.measured([(noise, hidden, pretended)])
    assert np.median(followed.shares) > 0.8
    assert np.median(unrelated.shares) < 0.5
    # Least squares: no constant share is better on the same pixels.
    missing = np.where(pretended[..., None], np.uint8(0), noise)
    best = error(unrelated(missing, pretended), noise, pretended)
    for share in (0.0, 0.25, 0.5, 1.0):
        assert (
            best
            <= error(BaseFill(np.full(COUNT, share), unrelated.unsure)(missing, pretended), noise, pretended)
            + 0.1
        )


def test_surroundings_stay_within_the_frame():
    hidden = np.zeros((20, 30), bool)
    hidden[3:5, 25:29] = True
    assert surroundings(hidden, 4) == (slice(0, 9), slice(21, 30))


def test_shares_change_without_steps_and_fade_where_nothing_was_carried():
    hidden = np.zeros((40, 40), bool)
    hidden[4:36, 4:36] = True
    rows, columns = np.nonzero(hidden)
    is_reached = columns < 30
    shares = np.where(is_reached & (columns > 16), 1.0, 0.2) * is_reached
    smooth = np.zeros((40, 40))
    smooth[hidden] = _without_steps(shares, is_reached, hidden)
    across = smooth[20]
    assert np.abs(np.diff(across[4:36])).max() < 0.3  # 0.8 before
    assert across[29] < 0.05
    np.testing.assert_allclose(across[4:12], 0.2, atol=1e-5)  # the edge of the hole changes nothing
    whole = _without_steps(np.full(len(rows), 0.7), np.ones(len(rows), bool), hidden)
    np.testing.assert_allclose(whole, 0.7, atol=1e-5)
