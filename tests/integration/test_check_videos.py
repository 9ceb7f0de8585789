"""tools/check_videos.py as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diffmae_video.data import read_list
from tests.calls import diffmae
from tests.repository import ROOT


def check(*arguments):
    return diffmae("check-videos", *arguments)


@pytest.fixture
def folder(tmp_path, real_clips):
    videos = tmp_path / "my videos"
    videos.mkdir()
    (videos / "good ü.mp4").symlink_to(real_clips["carphone_pristine"])
    whole = real_clips["bikes"].read_bytes()
    (videos / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (videos / "flipped.mp4").write_bytes(whole[:200_000] + bytes(40_000) + whole[240_000:])
    (videos / "empty.mp4").write_bytes(b"")
    (videos / "text.mp4").write_text("no video")
    return videos


def test_bad_files_are_reported_and_a_clean_list_is_written(folder, tmp_path):
    report, clean = tmp_path / "report.jsonl", tmp_path / "clean.csv"
    done = check(folder, "--output", report, "--clean", clean, "--workers", "2")
    assert done.returncode == 1, done.stderr
    rows = [json.loads(line) for line in report.read_text().splitlines()]
    assert {Path(r["path"]).name: r["ok"] for r in rows} == {
        "good ü.mp4": True,
        **dict.fromkeys(("cut.mp4", "flipped.mp4", "empty.mp4", "text.mp4"), False),
    }
    assert all(set(r) == {"path", "ok", "reason"} and bool(r["reason"]) != r["ok"] for r in rows)
    assert "5 files, 4 bad" in done.stdout
    assert [entry.path for entry in read_list(clean)] == [str(folder / "good ü.mp4")]


def test_it_goes_on_where_it_was_killed(folder, tmp_path):
    report = tmp_path / "report.jsonl"
    invented = {"path": str(folder / "text.mp4"), "ok": True, "reason": ""}  # is not looked at again
    report.write_text(json.dumps(invented) + '\n{"path": "my vid')
    done = check(folder, "--output", report)
    assert "5 files, 3 bad" in done.stdout
    (folder / "empty.mp4").unlink()  # a bad one is looked at again
    (folder / "empty.mp4").symlink_to(folder / "good ü.mp4")
    assert "5 files, 2 bad" in check(folder, "--output", report).stdout
    assert len([json.loads(line) for line in report.read_text().splitlines()]) == 5


def test_names_and_places(folder, tmp_path):
    """Paths of a clean list hold wherever it lies, and names need not be Unicode."""
    odd = os.fsencode(folder) + b"/bad\xff.mp4"
    Path(os.fsdecode(odd)).write_text("no video")
    (tmp_path / "list.csv").write_text("path\nmy videos/good ü.mp4\n")
    command = [sys.executable, ROOT / "tools/check_videos.py", "list.csv", "--clean", "l/clean.csv"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [entry.path for entry in read_list(tmp_path / "l/clean.csv")] == [str(folder / "good ü.mp4")]
    done = check(folder, "--output", tmp_path / "odd.jsonl")
    assert done.returncode == 1
    assert "6 files, 5 bad" in done.stdout


def test_exit_codes(folder, tmp_path):
    for name in ("cut.mp4", "flipped.mp4", "empty.mp4", "text.mp4"):
        (folder / name).unlink()
    assert check(folder).returncode == 0
    for wrong in ([tmp_path / "none"], [folder, "--workers", "0"], [], [folder, "--output", __file__]):
        done = check(*wrong)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_file_that_takes_too_long_is_bad(folder):
    done = check(folder, "--timeout", "0.001")
    assert done.returncode == 1
    assert "good ü.mp4: the decoder gave no answer within 0.001 s" in done.stdout
