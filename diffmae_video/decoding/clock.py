"""Mends the clock of recordings whose time stamps restart or jump, as FFmpeg's own program does."""

import itertools
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

LARGEST_GAP = 10.0  # seconds; FFmpeg's dts_delta_threshold: a longer gap is a new clock, not a pause


class MendedClock(NamedTuple):
    """Presentation times on one clock that runs through."""

    stamps: list[int]  # one for each packet, in the order of decoding
    # what was added to the original stamps of each stretch between two breaks; the first is 0
    offsets: list[int]


def mend_clock(
    pts: Sequence[int], dts: Sequence[int], is_key: Sequence[bool], ticks_per_second: float
) -> MendedClock:
    """Joins the stretches of a recording into one clock.

    A new stretch begins where the decoding times go back, or jump ahead by more than
    :data:`LARGEST_GAP`; a shorter gap is kept, since the recording may have paused. A stretch that
    begins with a key frame is shown right after all of the one before. Any other is in mid-GOP, where
    frames before the break may be shown after it, and its decoding times go on instead.

    Args:
        pts, dts: presentation and decoding times of the packets, in the order of decoding.
        is_key: whether a packet holds a key frame.
        ticks_per_second: of the time stamps.
    """
    largest = LARGEST_GAP * ticks_per_second
    breaks = [i for i in range(1, len(dts)) if not 0 <= dts[i] - dts[i - 1] <= largest]
    steps = [b - a for a, b in itertools.pairwise(dts) if 0 < b - a <= largest]
    step = round(median(steps)) if steps else 1
    stamps: list[int] = []
    offsets: list[int] = []
    for first, last in zip([0, *breaks], [*breaks, len(dts)], strict=True):
        if not offsets:
            offset = 0
        elif is_key[first]:
            offset = max(stamps) + step - min(pts[first:last])
        else:
            offset = dts[first - 1] + offsets[-1] + step - dts[first]
        offsets.append(offset)
        stamps += [stamp + offset for stamp in pts[first:last]]
    return MendedClock(stamps, offsets)


def nearest_offset(stamp: float, expected: float, offsets: Sequence[float]) -> float:
    """The offset that brings the first stamp after a break closest to where the track is expected to go on.

    Sound breaks at the same points as the pictures, but its packets differ in length, so the break alone
    does not tell the gap.
    """
    return min(offsets, key=lambda offset: abs(stamp + offset - expected))
