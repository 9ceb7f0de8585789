"""Progress of long work without a terminal."""

import gc
import os
import subprocess
import sys
import time

import pytest

from diffmae_video.runtime import progress
from diffmae_video.runtime.progress import ProgressBar


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests move; the bar and tqdm both read it."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    return now


def test_long_work_prints_a_line_now_and_then(capsys, clock):
    for _ in ProgressBar(range(100), desc="training", unit=" steps"):
        clock[0] += 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 7  # 200 seconds: every 30, and the end
    assert lines[0] == "training:  15%, 15 of 100 steps [00:30<02:50,  2.00s/steps]"
    assert lines[-1].startswith("training: 100%, 100 of 100 steps [03:20<00:00")


def test_short_work_prints_nothing(capsys, clock):
    with ProgressBar(total=3) as bar:
        for _ in range(3):
            clock[0] += 2
            bar.update()
            bar.set_postfix(loss=1.0)
    assert capsys.readouterr().err == ""


def test_figures_beside_the_bar_make_no_lines_of_their_own(capsys, clock):
    with ProgressBar(total=50) as bar:
        for i in range(50):
            clock[0] += 1
            bar.update()
            bar.set_postfix(loss=i)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "loss=49" in lines[-1]


def test_lines_keep_coming_during_a_long_step(capsys):
    with ProgressBar(total=2, desc="resizing", line_seconds=0.1) as bar:
        lines, deadline = [], time.monotonic() + 20
        while len(lines) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
            lines += capsys.readouterr().err.splitlines()
        assert {line[:21] for line in lines} == {"resizing:   0%, 0 of "}
        bar.update(2)
    assert "resizing: 100%, 2 of 2" in capsys.readouterr().err
    time.sleep(0.3)
    assert capsys.readouterr().err == ""


def test_an_abandoned_bar_falls_silent(capsys):
    bar = ProgressBar(total=2, line_seconds=0.1)
    del bar
    gc.collect()
    time.sleep(0.3)
    assert capsys.readouterr().err == ""


def test_every_update_where_no_time_is_asked_for(capsys, clock):
    with ProgressBar(total=4, initial=1, line_seconds=0) as bar:
        bar.update()
        bar.update(2)
    assert [line[:8] for line in capsys.readouterr().err.splitlines()] == [" 50%, 2 ", "100%, 4 "]


def test_a_bar_of_another_process_or_part_of_one_is_silent(capsys, clock):
    for options in ({"disable": True}, {"leave": False}):
        with ProgressBar(total=1, **options) as bar:
            clock[0] += 100
            bar.update()
            assert len(capsys.readouterr().err.splitlines()) == ("leave" in options)
        assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with ProgressBar(total=2, ncols=60) as bar:
        bar.update(2)
    assert "\r" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["", "1"])
def test_tqdms_variable_silences_it(value):
    code = (
        "from diffmae_video.runtime.progress import ProgressBar\n"
        "ProgressBar(total=1, line_seconds=0, disable=False).update()"
    )
    environment = {**os.environ, "TQDM_DISABLE": value}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (len(done.stderr.splitlines()), done.returncode) == (0 if value else 1, 0), done.stderr
