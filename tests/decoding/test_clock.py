"""Clocks that restart or jump are joined; pauses are kept."""

import pytest

from diffmae_video.decoding.clock import mend_clock, nearest_offset

SECOND = 100


def test_a_steady_clock_is_left_alone():
    pts, dts = [2, 4, 3, 6], [0, 1, 2, 3]
    assert mend_clock(pts, dts, [True, False, False, False], SECOND) == (pts, [0])


@pytest.mark.parametrize("start", [0, 7, 5_000, 10_000_000])
def test_a_part_that_starts_with_a_key_frame_follows_the_frames_before_it(start):
    first, second = [2, 4, 3], [start + 1, start + 2]
    clock = mend_clock(first + second, [0, 1, 2, start, start + 1], [True, False, False, True, False], SECOND)
    expected = 5 if start != 7 else 8  # 5 ticks are a pause
    assert clock.stamps == [*first, expected, expected + 1]


def test_a_break_within_a_gop_keeps_the_order_of_its_frames():
    # the B-frame after the break is shown before the P-frame before it
    clock = mend_clock([2, 5, 102, 104], [0, 1, 100, 101], [True, False, False, False], 1)
    assert clock.stamps == [2, 5, 4, 6]
    assert clock.offsets == [0, -98]


def test_sound_goes_on_by_the_nearest_offset():
    assert nearest_offset(1.45, 2.6, [0.0, 1.2, 90.0]) == 1.2
