"""The declarations of the options: each default is valid, and docs/options.md is up to date."""

import pytest

from diffmae_video.options import OPTIONS, SECTIONS, Option
from tests.calls import script
from tests.repository import ROOT


def test_the_reference_is_up_to_date():
    done = script(ROOT / "tools/write_options.py", "--check")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("key", OPTIONS)
def test_a_default_is_valid_and_explained(key):
    option = OPTIONS[key]
    assert option.problem(option.default) is None
    assert key.split(".")[0] in SECTIONS
    assert option.meaning.endswith(".")
    if isinstance(option.default, list):
        assert {type(entry) for entry in option.default} <= {type(option.example)}


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        (Option(1, "", at_least=1), 0, "must be 1 or more, got 0"),
        (Option(1.0, "", "seconds", above=0), 0.0, "must be above 0 seconds, got 0.0"),
        (Option(0.5, "", at_least=0, at_most=1), 1.5, "must be from 0 to 1, got 1.5"),
        (Option(0.5, "", at_least=0, below=1), 1.0, "must be 0 or more and below 1, got 1.0"),
        (Option(1.0, "", above=0, at_most=1), 0.0, "must be above 0 and at most 1, got 0.0"),
        (Option([1, 2], "", at_least=1), [3, 0], r"must be 1 or more, got \[3, 0\]"),
        (Option([0.0, 1.0], "", ascending=True), [1.0, 0.5], "must be in ascending order"),
        (Option("a", "", choices=("a", "b")), "c", "unknown value 'c'; there are a, b"),
    ],
)
def test_values_outside_the_range_are_explained(option, value, problem):
    with pytest.raises(AssertionError, match=problem):
        raise AssertionError(option.problem(value))
