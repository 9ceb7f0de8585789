import numpy as np
import pytest
import torch

from diffmae_video.film.camera import CameraTracker, CutDetector, fill_from_around
from tests.film.small_films import moving_box, panning, textured


def tracked(frames, hidden):
    tracker = CameraTracker()
    return np.array([tracker.add(frame, hole) for frame, hole in zip(frames, hidden, strict=True)])


@pytest.mark.parametrize("step", [(0, 3), (2, 0), (1, 2)])
def test_the_camera_is_followed_although_an_object_moves_otherwise(step):
    frames, hidden = panning(6, 96, 128, step), moving_box(6, 96, 128)
    frames = np.where(hidden[..., None], np.uint8([255, 0, 0]), frames)
    shifts = tracked(frames, hidden)
    assert shifts[0].tolist() == [0, 0]
    np.testing.assert_allclose(shifts[1:], -np.array([step] * 5), atol=0.15)


def test_what_is_hidden_is_not_read():
    frames, hidden = panning(4), moving_box(4)
    noise = np.random.default_rng(0).integers(0, 256, frames.shape).astype(np.uint8)
    replaced = np.where(hidden[..., None], noise, frames)
    assert (tracked(frames, hidden) == tracked(replaced, hidden)).all()


def test_a_shift_that_explains_nothing_is_not_believed(monkeypatch):
    tracker = CameraTracker()
    monkeypatch.setattr(tracker, "_correlate", lambda first, second: (0.2, 9.0))
    frame = textured(96, 128)
    hidden = np.zeros(frame.shape[:2], bool)
    tracker.add(frame, hidden)
    assert tracker.add(frame, hidden) == (0, 0)


def test_cuts_are_found():
    frames = np.concatenate([panning(20, 96, 128, (0, 1), seed) for seed in (1, 2, 3)])
    detector = CutDetector()
    for frame in frames:
        detector.add(frame, np.zeros(frame.shape[:2], bool))
    assert detector.finish() == [20, 40]


def test_a_pan_has_no_cut():
    detector = CutDetector()
    for frame in panning(40):
        detector.add(frame, np.zeros(frame.shape[:2], bool))
    assert detector.finish() == []


def test_known_pixels_stay_and_others_are_filled_from_around():
    picture = torch.full((1, 3, 16, 16), 0.25)
    picture[..., 8:] = 0.75
    known = torch.ones(1, 1, 16, 16)
    known[..., 4:12, 3:13] = 0
    filled = fill_from_around(picture * known, known)
    where = known.expand(-1, 3, -1, -1) == 1
    assert torch.equal(filled[where], picture[where])
    assert filled[..., 6, 4].mean() < 0.45 < 0.55 < filled[..., 6, 11].mean()
    assert filled.min() >= 0.25 - 1e-5
    assert filled.max() <= 0.75 + 1e-5
