"""A run on a list with bad videos, as a user starts it."""

import pytest

from tests.calls import diffmae
from tests.integration.runs import command, losses, rows, run


@pytest.fixture
def listed(tmp_path, films):
    """A list of the films and of four files that cannot be read, a fifth of it or more."""
    good = sorted(films.glob("*.mp4"))
    text, cut = tmp_path / "text.mp4", tmp_path / "cut.mp4"
    text.write_text("no video")
    cut.write_bytes(good[0].read_bytes()[: good[0].stat().st_size // 2])
    (tmp_path / "empty.mp4").write_bytes(b"")
    bad = [text, cut, tmp_path / "empty.mp4", tmp_path / "missing ü.mp4"]
    path = tmp_path / "list.txt"
    path.write_text("".join(f"{p} some_label\n" for p in [*good, *bad]))
    return path, good, bad


def test_a_run_goes_on_and_records_them(tmp_path, listed):
    path, good, bad = listed
    count = len(good) + len(bad)
    run(1, path, tmp_path / "run", "TRAIN.BATCH_SIZE", 1, "TRAIN.MAX_STEPS", count)
    assert len(losses(tmp_path / "run")) == count
    faults = rows(tmp_path / "run", "bad_videos.jsonl")
    in_their_place = [row for row in faults if row["attempt"] == 0]
    assert sorted(row["path"] for row in in_their_place) == sorted(map(str, bad))  # once in an epoch
    assert all(row["path"] in row["reason"] for row in faults)


def test_too_many_end_it_with_the_reason(tmp_path, listed):
    path, _, _ = listed
    options = ("TRAIN.BATCH_SIZE", 1, "TRAIN.MAX_STEPS", 400, "DATA.MAX_BAD_SHARE", 0.05)
    code, _, error = diffmae("pretrain", *command(path, tmp_path / "run", *options)[1:])
    assert code == 2
    assert "reads of videos failed, which exceeds DATA.MAX_BAD_SHARE 0.05" in error
    assert "bad_videos.jsonl names the files" in error
    assert len(error.strip().splitlines()) == 1


def test_a_list_of_nothing_else_ends_at_once(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("path\nnone.mp4\nnowhere.mp4\n")
    code, _, error = diffmae("pretrain", *command(path, tmp_path / "run", "TRAIN.MAX_STEPS", 4)[1:])
    assert code == 2
    assert "30 videos in a row could not be read" in error
    assert not (tmp_path / "run/metrics.jsonl").exists()  # another start needs no --resume
    assert "diffmae check-videos" in error
    assert len(error.strip().splitlines()) == 1
