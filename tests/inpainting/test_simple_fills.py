"""Fills without a model against slow loops."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffmae_video import Mask
from diffmae_video.inpainting.simple_fills import interpolated_fill, mean_fill, nearest_fill

PATCH, GRID = (2, 4, 4), (2, 3, 3)


def example(batch=2):
    truth = torch.rand(batch, 3, 4, 12, 12)
    mask = Mask.random(batch, GRID, 0.6, torch.Generator().manual_seed(1))
    return truth, mask, mask.to_pixels(PATCH)


def test_mean_fill_uses_visible_pixels_only():
    truth, _, masked = example()
    filled = mean_fill(truth, masked)
    visible = ~masked[0].expand(3, -1, -1, -1)
    for channel in range(3):
        expected = truth[0, channel][visible[channel]].mean()
        torch.testing.assert_close(
            filled[0, channel][~visible[channel]], expected.expand((~visible[channel]).sum())
        )
    assert torch.equal(filled[0][visible], truth[0][visible])


def test_nearest_fill_agrees_with_a_slow_loop():
    truth, mask, _ = example()
    filled = nearest_fill(truth, mask, PATCH)

    def piece(clip, token):
        t, y, x = token // 9, token // 3 % 3, token % 3
        return clip[:, 2 * t : 2 * t + 2, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4]

    def distance(a, b):
        return sum(
            (p - q) ** 2
            for p, q in zip((a // 9, a // 3 % 3, a % 3), (b // 9, b // 3 % 3, b % 3), strict=True)
        )

    for i in range(2):
        visible = mask.visible[i].tolist()
        for token in range(18):
            nearest = (
                token
                if token in visible
                else min(visible, key=lambda v, token=token: (distance(token, v), v))
            )
            assert torch.equal(piece(filled[i], token), piece(truth[i], nearest))


def slow_interpolation(clip, masked, mean):
    """One clip [3, T, H, W]."""
    filled, (_, frames, height, width) = clip.clone(), clip.shape
    for y in range(height):
        for x in range(width):
            seen = [t for t in range(frames) if not masked[0, t, y, x]]
            for t in range(frames):
                before = [s for s in seen if s <= t]
                after = [s for s in seen if s >= t]
                if not seen:
                    filled[:, t, y, x] = mean[:, t, y, x]
                elif not before or not after:
                    filled[:, t, y, x] = clip[:, min(after) if after else max(before), y, x]
                elif masked[0, t, y, x]:
                    a, b = max(before), min(after)
                    filled[:, t, y, x] = ((b - t) * clip[:, a, y, x] + (t - a) * clip[:, b, y, x]) / (b - a)
    return filled


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), share=st.floats(0.2, 0.9))
def test_interpolation_agrees_with_a_slow_loop(seed, share):
    state = torch.Generator().manual_seed(seed)
    clip = torch.rand(2, 3, 6, 3, 2, generator=state)
    masked = torch.rand(2, 1, 6, 3, 2, generator=state) < share
    masked[:, :, :, 0, 0] = True  # never to be seen
    masked[:, :, :, 1, 0] = False
    filled, mean = interpolated_fill(clip, masked), mean_fill(clip, masked)
    for i in range(2):
        torch.testing.assert_close(filled[i], slow_interpolation(clip[i], masked[i], mean[i]))
    assert torch.equal(torch.where(masked, 0, filled), torch.where(masked, 0, clip))
