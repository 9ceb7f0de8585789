"""Warping, occlusion and the warping error against slow loops."""

import numpy as np
import pytest
from PIL import Image

from diffmae_video.inpainting.optical_flow import OpticalFlow, occluded, warp, warping_error

pytest.importorskip("cv2")


def texture():
    """A smooth random picture, larger than what is looked at."""
    coarse = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((92, 72), Image.Resampling.BICUBIC))


def slow_warp(picture, flow):
    height, width = flow.shape[:2]
    out = np.empty((height, width, picture.shape[-1]))
    for y, x in np.ndindex(height, width):
        u, v = np.clip(x + flow[y, x, 0], 0, width - 1), np.clip(y + flow[y, x, 1], 0, height - 1)
        left, top = int(min(u, width - 2)), int(min(v, height - 2))
        a, b = u - left, v - top
        upper = (1 - a) * picture[top, left] + a * picture[top, left + 1]
        lower = (1 - a) * picture[top + 1, left] + a * picture[top + 1, left + 1]
        out[y, x] = (1 - b) * upper + b * lower
    return out


def test_warping_is_bilinear_and_stops_at_the_edge():
    state = np.random.default_rng(1)
    picture = state.random((9, 12, 3)).astype(np.float32)
    flow = state.normal(0, 4, (9, 12, 2)).astype(np.float32)
    np.testing.assert_allclose(warp(picture, flow), slow_warp(picture, flow), atol=1e-4)


def test_occlusion_agrees_with_a_slow_loop():
    state = np.random.default_rng(2)
    forward = np.where(np.arange(16)[:, None, None] < 8, 0.0, 3.0) * np.ones((16, 20, 2))
    forward = (forward + state.normal(0, 0.02, forward.shape)).astype(np.float32)
    backward = (-forward + state.normal(0, 0.4, forward.shape)).astype(np.float32)
    returned = slow_warp(backward, forward)
    expected = np.zeros((16, 20), bool)
    for y, x in np.ndindex(16, 20):
        f, b = forward[y, x], returned[y, x]
        differs = ((f + b) ** 2).sum() > 0.01 * ((f**2).sum() + (b**2).sum()) + 0.5
        change = sum(
            ((forward[i, j] - f) ** 2).sum() for i, j in ((y + 1, x), (y, x + 1)) if i < 16 and j < 20
        )
        expected[y, x] = differs or change > 0.01 * (f**2).sum() + 0.002
    assert 0.05 < expected.mean() < 0.95
    assert (occluded(forward, backward) == expected).mean() > 0.99  # float32 on the edge of a rule


def test_flow_finds_a_shift_and_the_warping_error_measures_flicker():
    large = texture()
    first, second = large[4:68, 4:84], large[2:66, 7:87]  # what is at x, y goes to x - 3, y + 2
    flow = OpticalFlow()
    forward, backward = flow(first, second), flow(second, first)
    assert np.median(forward, (0, 1)).tolist() == pytest.approx([-3, 2], abs=0.1)
    hidden = occluded(forward, backward)
    assert hidden.mean() < 0.5
    steady = warping_error(first, second, forward, hidden)
    assert steady < 1e-3
    assert warping_error(first, first, forward, hidden) > 5 * steady
    brighter = np.clip(second.astype(int) + 20, 0, 255).astype(np.uint8)
    pixels = [(y, x) for y, x in np.ndindex(*hidden.shape) if not hidden[y, x]]
    warped = slow_warp(brighter.astype(float), forward)
    expected = np.mean([(((first[place] - warped[place]) / 255) ** 2).mean() for place in pixels])
    assert warping_error(first, brighter, forward, hidden) == pytest.approx(expected, rel=1e-3)
    assert warping_error(first, brighter, forward, hidden | True) == 0
