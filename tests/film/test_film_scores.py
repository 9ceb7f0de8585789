"""Scores of a film against numpy on frames made by hand."""

import numpy as np
import pytest

from diffmae_video.film.film_filler import FilledFrame
from diffmae_video.film.film_scores import FilmScores

HOLE = (slice(None), slice(2, 6), slice(1, 5))


@pytest.fixture
def film():
    """Six frames of 8 x 7 pixels, two fills of them, and a hole that frame 3 does not have."""
    chance = np.random.default_rng(0)
    truth = chance.integers(0, 256, (6, 8, 7, 3), np.uint8)
    holes = np.zeros((6, 8, 7), bool)
    holes[HOLE] = True
    holes[3] = False
    fills = np.stack([np.where(holes[..., None], chance.integers(0, 256, truth.shape), truth)] * 2)
    fills[1] = np.where(holes[..., None], truth // 2, truth)
    return truth, holes, fills.astype(np.uint8)


def score(truth, holes, fills, clips=(), stretches=(), patch=2):
    scores = FilmScores(len(fills), patch, clips, stretches)
    for i, (frame, hole) in enumerate(zip(truth, holes, strict=True)):
        scores.add(FilledFrame(i, frame, hole, [fill[i] for fill in fills], iter(())))
    return scores.result()


def psnr(error):
    return pytest.approx(-10 * np.log10((error**2).mean()), rel=1e-5)


def test_scores_agree_with_numpy_over_hidden_pixels(film):
    truth, holes, fills = film
    result = score(*film)
    assert (result["frames"], result["hidden_share"]) == (6, holes.mean())
    x = truth / 255
    assert result["mean_fill_psnr"] == psnr(x[holes] - x[~holes].mean(0))
    linear = x.copy()
    for frame, (before, after) in {0: (3, 3), 1: (3, 3), 2: (3, 3), 4: (3, 3), 5: (3, 3)}.items():
        linear[frame][holes[frame]] = ((x[before] + x[after]) / 2)[holes[frame]]
    assert result["interpolation_psnr"] == psnr(x[holes] - linear[holes])
    for fill, scores in zip(fills, result["samples"], strict=True):
        error = (fill / 255 - x)[holes]
        assert scores["psnr"] == psnr(error)
        assert scores["difference_inside"] == pytest.approx(255 * np.abs(error).mean(), rel=1e-5)
        assert scores["difference_outside"] == 0


def test_changes_are_grouped_by_where_clips_and_patches_start(film):
    truth, holes, fills = film
    holes[:] = True  # all change
    result = score(truth, holes, fills, clips=(0, 3), stretches=(3,))
    change = np.abs(np.diff(truth.astype(float), axis=0)).mean((1, 2, 3))  # to frames 1, ..., 5
    assert result["truth"] == {
        "joint_difference": pytest.approx(change[2], rel=1e-5),
        "stretch_joint_difference": pytest.approx(change[2], rel=1e-5),
        "inner_difference": pytest.approx(change[[0, 1, 3, 4]].mean(), rel=1e-5),
        "patch_difference": pytest.approx(change[[1, 3]].mean(), rel=1e-5),
    }
    dark = fills[1].astype(float)
    flicker = np.abs(np.diff(dark, axis=0)).mean() / np.abs(np.diff(truth.astype(float), axis=0)).mean()
    assert result["samples"][1]["flicker"] == pytest.approx(flicker, rel=1e-5)


def test_changes_need_a_hole_in_both_frames_and_undefined_scores_are_none(film):
    truth, holes, fills = film
    result = score(truth, holes, fills)
    pairs = [(0, 1), (1, 2), (4, 5)]  # frame 3 has no hole
    change = [np.abs(truth[a].astype(float) - truth[b])[holes[a]].mean() for a, b in pairs]
    assert result["truth"]["inner_difference"] == pytest.approx(np.mean(change), rel=1e-5)
    assert result["truth"]["joint_difference"] is None
    one = score(truth[:1], holes[:1], fills[:, :1])
    assert one["samples"][0]["flicker"] is None
