"""The least time of a run, from the speed of matrix products."""

import pytest

from diffmae_video.cost import least_time
from diffmae_video.cost.least_time import describe_seconds, describe_training_time, least_seconds


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


def test_the_time_of_a_run_is_its_steps(monkeypatch):
    monkeypatch.setattr(least_time, "least_seconds", lambda macs: macs / 1e9)
    told = describe_training_time(macs=20e9, steps=100)
    assert told.startswith("about 60.0 seconds a step and 100.0 minutes in all, counting matrix products")
