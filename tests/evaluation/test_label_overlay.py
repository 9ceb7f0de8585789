"""Drawn labels: where they are, what they say, and that they fit."""

import numpy as np
import pytest
from PIL import ImageFont

from diffmae_video.evaluation.label_overlay import BAR, draw_labels, shorten

LABELS = [
    ("a name that is far too long for its row, and so is shortened", 0.75),
    ("short", 0.25),
    ("none", 0.0),
]


@pytest.mark.parametrize("size", [(240, 320), (1080, 1920), (1920, 1080), (96, 128)])
@pytest.mark.parametrize("level", [0, 255])
def test_bars_are_as_long_as_their_probabilities(size, level):
    frame = np.full((*size, 3), level, np.uint8)
    drawn = draw_labels(frame, LABELS)
    assert frame.min() == frame.max() == level
    changed = (drawn != level).any(-1)
    assert not changed[: size[0] // 3].any()
    rows, columns = changed.any(1).nonzero()[0], changed.any(0).nonzero()[0]
    margin = rows.min(), size[0] - 1 - rows.max(), columns.min(), size[1] - 1 - columns.max()
    assert min(margin) > 0
    # from the first to the last pixel of the bar's colour in each line; text covers some of them
    is_bar = (drawn == np.array(BAR)).all(-1)
    lengths = np.where(is_bar.any(1), is_bar.shape[1] - is_bar[:, ::-1].argmax(1) - is_bar.argmax(1), 0)
    longest = lengths.max()
    assert longest / lengths[lengths < longest / 2].max() == pytest.approx(3, rel=0.05)
    full = longest / 0.75
    assert 0.9 < full / (columns.max() - columns.min()) < 1
    panel = drawn[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(int)
    assert (panel.min(-1) > 240).sum() > 50  # white text on it
    assert np.median(panel.mean(-1)) < 120


def test_what_does_not_fit_is_left_out():
    frame = np.zeros((30, 400, 3), np.uint8)
    bars = (draw_labels(frame, LABELS) == np.array(BAR)).all(-1)
    assert bars.any(0).sum() > 100  # the first row
    tiny = np.zeros((12, 12, 3), np.uint8)
    assert np.array_equal(draw_labels(tiny, LABELS), tiny)


def test_names_are_shortened_to_the_room_that_there_is():
    font = ImageFont.load_default(20)
    name = "riding a very long bike"
    assert shorten(name, font.getlength(name), font) == name
    for room in (20, 60, 100, 150):
        short = shorten(name, room, font)
        assert short.endswith("…")
        assert font.getlength(short) <= room
        assert name.startswith(short[:-1])
        longer = name[: len(short)] + "…"
        assert font.getlength(longer) > room or name[len(short) - 1] == " "
