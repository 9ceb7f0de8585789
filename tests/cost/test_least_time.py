"""The least time of a run, from the speed of matrix products."""

import pytest

from diffmae_video.cost.least_time import describe_seconds, least_seconds


def test_time_follows_the_work():
    assert 0 < least_seconds(1e9) < 60  # a multiply-accumulate takes less than 60 ns
    assert least_seconds(1e15) > 100 * least_seconds(1e9)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.25, "0.2 seconds"),
        (119, "119.0 seconds"),
        (150, "2.5 minutes"),
        (9000, "2.5 hours"),
        (432000, "5.0 days"),
    ],
)
def test_durations_in_words(seconds, words):
    assert describe_seconds(seconds) == words
