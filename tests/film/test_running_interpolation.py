"""The streamed error against that of the interpolated film itself."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffmae_video.film.running_interpolation import RunningInterpolation
from diffmae_video.inpainting.simple_fills import interpolated_fill


def streamed(frames, holes):
    running = RunningInterpolation()
    for frame, hole in zip(frames, holes, strict=True):
        running.add(frame, hole)
    return running.finish(frames[~holes].mean(0))


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), length=st.integers(1, 12), share=st.floats(0.05, 0.95))
def test_the_error_is_that_of_the_interpolated_clip(seed, length, share):
    chance = np.random.default_rng(seed)
    frames = chance.integers(0, 256, (length, 4, 3, 3), np.uint8)
    holes = chance.random((length, 4, 3)) < share
    holes[:, 0, 0], holes[:, 1, 0] = True, False  # one pixel is never visible, one always
    clip = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].double()
    filled = interpolated_fill(clip, torch.from_numpy(holes)[None, None])
    expected = float(((filled - clip) ** 2).sum())
    assert streamed(frames, holes) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_a_ramp_is_interpolated_without_error_and_ends_are_repeated():
    ramp = np.broadcast_to(np.arange(0, 60, 10, dtype=np.uint8)[:, None, None, None], (6, 1, 2, 3))
    holes = np.zeros((6, 1, 2), bool)
    holes[1:4, 0, 0] = True
    assert streamed(ramp, holes) == 0
    holes[4:, 0, 1] = True  # 40 and 50 become 30
    assert streamed(ramp, holes) == 3 * (10**2 + 20**2)
    holes[:2, 0, 1] = True  # 0 and 10 become 20
    assert streamed(ramp, holes) == 6 * (10**2 + 20**2)
