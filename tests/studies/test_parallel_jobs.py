"""Runs side by side that stop together and go on."""

import os
import re
from pathlib import Path

import pytest

from diffmae_video import InputError
from diffmae_video.studies.parallel_jobs import Job, run_jobs


def write(text: str, folder: Path, resume: bool) -> None:
    assert resume
    print("said", text)
    (folder / "started").touch()
    if text == "fail":
        raise InputError("no such thing")
    if text == "die":
        os._exit(9)
    (folder / "done").write_text(text)


def job(folder, text, needs=()):
    return Job(folder / text, write, [text], "done", needs=needs)


@pytest.mark.slow
def test_finished_jobs_are_not_run_again(tmp_path, capsys):
    jobs = [job(tmp_path, text) for text in "ab"]
    jobs.append(job(tmp_path, "c", needs=list(jobs)))
    jobs[1].folder.mkdir()
    (jobs[1].folder / "done").write_text("before")
    run_jobs(jobs, 2, "test")
    assert (tmp_path / "c/started").stat().st_mtime_ns >= (tmp_path / "a/done").stat().st_mtime_ns
    assert [(j.folder / "done").read_text() for j in jobs] == ["a", "before", "c"]
    assert (tmp_path / "a/log.txt").read_text() == "said a\n"
    assert not (tmp_path / "b/started").exists()
    lines = capsys.readouterr().err.splitlines()  # no terminal: a line for each run that ended
    assert len(lines) == 2
    assert re.match(r"test:  67%.*2 of 3 runs\]$", lines[0]), lines
    assert re.match(r"test: 100%.*<00:00, 3 of 3 runs\]$", lines[1]), lines
    run_jobs(jobs, 2, "test")  # starts no process
    assert not capsys.readouterr().err


@pytest.mark.slow
def test_a_failed_job_costs_its_own_result_and_those_that_need_it(tmp_path):
    jobs = [job(tmp_path, name) for name in ("fail", *"ab")]
    later = job(tmp_path, "later", needs=jobs[:1])
    results = []
    with pytest.raises(InputError, match=r"1 of 4 runs failed \(InputError: no such thing.*fail/log.txt"):
        run_jobs(
            [later, *jobs], 1, "test", lambda: results.append([j.folder.name for j in jobs if j.is_done])
        )
    assert results == [["a"], ["a", "b"]]
    assert [j.is_done for j in (*jobs, later)] == [False, True, True, False]
    (tmp_path / "fail/done").touch()
    run_jobs([later, *jobs], 2, "test")
    assert later.is_done


@pytest.mark.slow
def test_a_killed_process_stops_the_others(tmp_path):
    jobs = [job(tmp_path, name) for name in ("die", *"abcdef")]
    with pytest.raises(InputError, match="was killed"):
        run_jobs(jobs, 1, "test")
    assert not jobs[-1].is_done
    (tmp_path / "die/done").touch()
    run_jobs(jobs, 2, "test")
    assert all(j.is_done for j in jobs)
