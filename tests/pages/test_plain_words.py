"""Scores in words."""

import numpy as np
import pytest

from diffmae_video.pages.plain_words import detail_in_words, error_in_words


def test_the_error_is_the_share_of_the_way_from_black_to_white():
    assert error_in_words(20.0) == "off by 10%"
    assert error_in_words(-20 * np.log10(0.25)) == "off by 25%"


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (0.2, "blurred"),
        (0.6, "softer than the truth"),
        (1.0, "as fine as the truth"),
        (2.0, "noisier than the truth"),
    ],
)
def test_detail_is_said_relative_to_the_truth(ratio, words):
    assert detail_in_words(ratio) == words
