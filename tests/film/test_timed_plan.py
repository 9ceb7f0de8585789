import pytest

from diffmae_video.errors import InputError
from diffmae_video.film import timed_plan
from diffmae_video.film.timed_plan import FitLength, TimedPlan


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(timed_plan.time, "monotonic", lambda: now[0])
    return now


def test_the_step_after_the_time_is_the_last(clock):
    plan = TimedPlan(FitLength(10.0), 0, 4, 1.0, 1, None)
    plan.rate(0)
    clock[0] += 9.9
    plan.rate(5)
    assert plan.steps > 6
    clock[0] += 0.2
    plan.rate(6)
    assert plan.steps == 7


def test_the_rate_rises_and_falls_to_a_hundredth(clock):
    plan = TimedPlan(FitLength(10.0), 0, 4, 2.0, 4, None)
    assert plan.rate(0) == pytest.approx(0.5)
    assert plan.rate(3) == pytest.approx(2.0)
    clock[0] += 5
    assert plan.rate(10) == pytest.approx(2 * 0.505)
    clock[0] += 5
    assert plan.rate(20) == pytest.approx(0.02)


def test_time_that_was_spent_before_counts(clock):
    plan = TimedPlan(FitLength(10.0), 8, 4, 1.0, 1, None)
    plan.rate(50)
    clock[0] += 2
    plan.rate(51)
    assert plan.steps == 52


def test_every_step_is_reported(clock):
    seen = []
    plan = TimedPlan(FitLength(10.0), 3, 4, 1.0, 1, lambda step, seconds: seen.append((step, seconds)))
    plan.rate(7)
    clock[0] += 1
    plan.rate(8)
    assert seen == [(7, 3.0), (8, 4.0)]


@pytest.mark.parametrize(
    ("text", "length"),
    [
        *(("90", FitLength(90)), ("90s", FitLength(90)), ("5m", FitLength(300)), ("1.5h", FitLength(5400))),
        *((0, FitLength(0)), (90, FitLength(90)), (0.5, FitLength(0.5))),
    ],
)
def test_a_time_is_read(text, length):
    assert FitLength.parse(text) == length


@pytest.mark.parametrize("text", ["", "m", "-3s", "5 days", "1.5steps", "nan", -1, float("inf")])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(InputError, match="write a time"):
        FitLength.parse(text)


def test_a_number_of_steps_is_kept(clock):
    plan = TimedPlan(FitLength.parse("3steps"), 0, 4, 1.0, 1, None)
    rates = []
    while (step := len(rates)) < plan.steps:
        rates.append(plan.rate(step))
        clock[0] += 1000
    assert len(rates) == 3
    assert rates == sorted(rates, reverse=True)
