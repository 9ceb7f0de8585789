"""A film is cleaned in another process, which ends with its iterator."""

import multiprocessing

import numpy as np
import pytest
from PIL import Image

from diffmae_video import InputError
from diffmae_video.data import open_video
from diffmae_video.encoding.clips import write_video
from diffmae_video.film.holes import HoleEdits
from diffmae_video.pages.film_cleaning import Job, clean_film, frame_at
from tests.pages.uploads import film

pytest.importorskip("cv2")


def job(tmp_path, source, **change):
    painted = np.zeros((64, 96), bool)
    painted[20:36, 30:50] = True
    values = {"painted": painted, "frame": 3, "follows": False, "edits": HoleEdits(dilate=2, feather=2)}
    return Job(source, tmp_path / "clean.mp4", tmp_path / "fit", **{**values, "seconds": 2.0, **change})


def pan(path):
    coarse = np.random.default_rng(0).integers(60, 200, (10, 20, 3), np.uint8)
    scene = np.asarray(Image.fromarray(coarse).resize((200, 80), Image.Resampling.BICUBIC))
    write_video(path, np.stack([scene[8:72, 4 * i : 4 * i + 96] for i in range(12)]), 10)
    return path


@pytest.mark.slow
def test_a_film_is_cleaned_with_previews(tmp_path):
    source = pan(tmp_path / "pan.mp4")
    reports = list(clean_film(job(tmp_path, source, follows=True, seconds=8.0)))
    assert reports[-1].is_done
    sentences = [report.sentence for report in reports]
    assert any(sentence.startswith("Learning from the film: ") for sentence in sentences)
    assert "Filling frame 12 of 12" in sentences
    previews = [report.picture for report in reports if report.picture is not None]
    assert previews
    with open_video(source, "pyav") as before, open_video(tmp_path / "clean.mp4", "pyav") as after:
        assert np.array_equal(before.times, after.times)
        change = np.abs(before.frames(range(12)).astype(int) - after.frames(range(12))).mean(-1)
    assert change[3, :10].mean() < 4  # as encoded again
    assert change[3, 22:34, 32:48].mean() > change[3, :10].mean()
    assert not multiprocessing.active_children()


def test_without_time_to_learn_the_film_is_filled_from_its_other_frames(tmp_path):
    source = pan(tmp_path / "pan.mp4")
    reports = list(clean_film(job(tmp_path, source, seconds=0.0)))
    assert reports[-1].is_done
    assert not any(report.sentence.startswith("Learning") for report in reports)
    assert "base" in next(r.estimate["fills"] for r in reports if r.estimate is not None)
    with open_video(source, "pyav") as before, open_video(tmp_path / "clean.mp4", "pyav") as after:
        change = np.abs(before.frames([3]).astype(int) - after.frames([3])).mean(-1)[0]
    assert change[22:34, 32:48].mean() > change[:10].mean()


def test_a_bad_film_is_one_line(tmp_path):
    source = film(tmp_path / "a.mp4")
    source.write_bytes(source.read_bytes()[:900])
    with pytest.raises(InputError, match=r"a\.mp4: "):
        list(clean_film(job(tmp_path, source)))
    assert not multiprocessing.active_children()


def test_closing_ends_the_process(tmp_path):
    reports = clean_film(job(tmp_path, pan(tmp_path / "pan.mp4"), seconds=1000.0))
    next(reports)
    assert len(multiprocessing.active_children()) == 1
    reports.close()
    assert not multiprocessing.active_children()
    assert not (tmp_path / "clean.mp4").exists()


def test_frames_are_found_by_time(tmp_path):
    path = film(tmp_path / "a.mp4")
    for second, number in ((0.0, 0), (0.99, 9), (1.0, 10), (99.0, 39)):
        frame, found, last = frame_at(path, second)
        assert found == number
        assert frame.mean() == pytest.approx(5 * number, abs=3)
        assert last == pytest.approx(3.9)
