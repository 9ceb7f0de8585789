"""The event handlers of the page that cleans films, without a server and without a fit."""

import numpy as np
import pytest

from diffmae_video.data import open_video
from diffmae_video.encoding.clips import write_video
from diffmae_video.film.holes import HoleEdits
from diffmae_video.pages import film_callbacks as module
from diffmae_video.pages.film_callbacks import (
    AREA,
    BOX,
    FOLLOWS,
    STAYS,
    FilmCallbacks,
    bounding_box,
    for_page,
)
from diffmae_video.pages.film_cleaning import Report
from tests.pages.uploads import film

SCORES = {"psnr": 20.0, "gradient_ratio": 0.6, "flicker": None}
ESTIMATE = {"places": 2, "fills": {"first": SCORES, "OpenCV <Telea>": SCORES}, "fill": "first", "gain": 2.5}


@pytest.fixture
def do(tmp_path):
    return FilmCallbacks(pytest.importorskip("gradio"), tmp_path / "fit")


def painting(size=(48, 64)):
    layer = np.zeros((*size, 4), np.uint8)
    layer[10, 12, 3] = layer[20, 30, 3] = 255
    return {"background": None, "layers": [layer], "composite": None}


def clean(do, path, **change):
    choices = {"second": 1.0, "editor": painting(), "form": AREA, "place": STAYS, "dilate": 4, "feather": 3}
    return do.clean(path and str(path), **{**choices, "minutes": 0.5, **change})


def test_a_job_is_what_the_user_chose_and_its_reports_become_the_page(tmp_path, do, monkeypatch):
    jobs = []

    def fake(job):
        jobs.append(job)
        yield Report("Reading", None)
        yield Report("Learning <", 0.25, np.full((48, 64, 3), 9, np.uint8))
        yield Report("Filling", 0.0, estimate=ESTIMATE)
        yield Report("Filling", 0.5)
        write_video(job.output, np.full((40, 48, 64, 3), 200, np.uint8), 10)
        yield Report("Done", 1.0, is_done=True)

    monkeypatch.setattr(module, "clean_film", fake)
    path = film(tmp_path / "a.mp4")
    seen = []
    for step in clean(do, path, form=BOX, place=FOLLOWS):
        progress, estimate, preview, result, comparison, second, download = step
        seen.append((progress, preview, estimate))
        if download.get("value"):  # while it is there
            with open_video(download["value"], "pyav") as video:
                assert video.num_frames == 40
            assert download["value"].endswith("a-clean.mp4")
            assert result["value"] == download["value"]
            before, after = comparison["value"]
            assert (before.mean(), after.mean()) == (pytest.approx(50, abs=3), pytest.approx(200, abs=3))
            assert (second["maximum"], second["value"]) == (pytest.approx(3.9), 1.0)
    (job,) = jobs
    assert (job.source, job.frame, job.follows, job.seconds) == (path, 10, True, 30)
    assert job.edits == HoleEdits(dilate=4, feather=3)
    assert np.argwhere(job.painted)[[0, -1]].tolist() == [[10, 12], [20, 30]]
    assert job.painted.sum() == 11 * 19
    assert len(seen) == 5
    assert [step[2].get("visible") for step in seen[:4]] == [False, False, True, True]
    assert "2.5 dB better than the best simple way" in seen[3][2]["value"]
    assert "<progress max" in seen[0][0]
    assert "value=" not in seen[0][0]
    assert 'value="0.250"' in seen[1][0]
    assert "Learning &lt;" in seen[1][0]
    assert seen[1][1]["value"].mean() == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": None}, "choose a film first"),
        ({"editor": None}, "nothing is painted"),
        ({"editor": {"layers": [np.zeros((9, 9, 4), np.uint8)]}}, "nothing is painted"),
        ({"minutes": 16}, "at most 15 minutes"),
        ({"dilate": 51}, "by 0 to 50 pixels, not 51"),
        ({"feather": -1}, "by 0 to 50 pixels, not -1"),
    ],
)
def test_mistakes_are_one_line_on_the_page(tmp_path, do, change, message):
    change = {"path": film(tmp_path / "a.mp4"), **change}
    with pytest.raises(do.gradio.Error, match=message) as raised:
        list(clean(do, change.pop("path"), **change))
    assert not raised.value.print_exception


def test_a_frame_is_shown_at_its_second(tmp_path, do):
    path = str(film(tmp_path / "a.mp4", (1000, 1200), 20))
    slider, editor = do.show_frame(path, 1.0)
    assert (slider["maximum"], slider["value"], slider["visible"]) == (pytest.approx(1.9), 1.0, True)
    assert editor["value"]["background"].shape == (800, 960, 3)
    assert editor["value"]["background"].mean() == pytest.approx(50, abs=3)
    assert do.show_frame(None, 1.0)[1]["visible"] is False
    assert do.compare(path, None, 0.0) is None


def test_a_film_that_is_too_long_is_refused(tmp_path, do, monkeypatch):
    monkeypatch.setattr("diffmae_video.pages.film_cleaning.MAX_SECONDS", 3)
    with pytest.raises(do.gradio.Error, match=r"^'?a\.mp4: is 4 s long, and the limit is 3 s"):
        do.show_frame(str(film(tmp_path / "a.mp4")), 0.0)


def test_boxes_and_sizes():
    painted = np.zeros((6, 7), bool)
    painted[1, 2] = painted[3, 5] = True
    assert np.argwhere(bounding_box(painted)).tolist() == [[y, x] for y in (1, 2, 3) for x in (2, 3, 4, 5)]
    assert for_page(np.zeros((48, 64, 3), np.uint8)).shape == (48, 64, 3)
