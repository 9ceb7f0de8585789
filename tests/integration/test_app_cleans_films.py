"""tools/app.py without a checkpoint: something is taken out of a film, by clicks alone."""

import time

import numpy as np
import pytest
from PIL import Image

from diffmae_video.data import open_video
from diffmae_video.encoding.clips import write_video
from tests.browser import import_for_browser
from tests.integration.app_server import (
    download,
    refusal,
    running_app,
    set_number,
    status,
    upload,
    visits,
    wait_for_status,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A pan over a soft texture."""
    pytest.importorskip("cv2")
    coarse = np.random.default_rng(0).integers(60, 200, (12, 24, 3), np.uint8)
    scene = np.asarray(Image.fromarray(coarse).resize((320, 130), Image.Resampling.BICUBIC))
    path = tmp_path_factory.mktemp("film") / "pan.mp4"
    write_video(path, np.stack([scene[:128, 4 * i : 4 * i + 192] for i in range(16)]), 10)
    return path


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with running_app(tmp_path_factory.mktemp("app")) as running:
        yield running


@pytest.fixture
def visit(app, browser):
    with visits(app[0], browser, "Clean") as visit:
        yield visit


def paint(page):
    """A short stroke in the middle of the picture."""
    time.sleep(2)  # the editor fits its picture to the page
    box = page.locator("canvas").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 20, y + 10, steps=5)
    page.mouse.up()
    time.sleep(1)  # it sends its layer a moment after the brush is lifted


def test_a_film_is_cleaned_compared_and_downloaded(visit, film, tmp_path):
    page = visit()
    page.get_by_role("button", name="Clean", exact=True).click()
    assert "choose a film first" in refusal(page)
    upload(page, film)
    page.locator("canvas").first.wait_for()
    set_number(page, "number input for Second to paint on", 0.8)
    page.get_by_role("button", name="Clean", exact=True).click()
    assert "nothing is painted" in refusal(page)
    paint(page)
    page.get_by_label("follows the camera").check()
    set_number(page, "number input for Minutes to learn", 0.2)
    page.get_by_role("button", name="Clean", exact=True).click()
    page.locator("progress").wait_for()
    wait_for_status(page, "Learning from the film")
    page.get_by_alt_text("as it is filled so far").wait_for()
    deadline = time.monotonic() + 600
    while status(page) != "Done":
        assert time.monotonic() < deadline, status(page)
        time.sleep(1)
    page.get_by_text("On places of the film that are known").wait_for()
    page.locator("video").wait_for()
    page.get_by_text("Before and after").wait_for()
    set_number(page, "number input for Second to compare", 0.3)
    page.screenshot(path=tmp_path / "done.png", full_page=True)
    path = download(page, tmp_path)
    assert path.name == "pan-clean.mp4"
    with open_video(film, "pyav") as before, open_video(path, "pyav") as after:
        assert np.array_equal(before.times, after.times)
        change = np.abs(before.frames(range(16)).astype(int) - after.frames(range(16))).mean(-1)
    assert np.median(change) < 4  # all but the hole is only encoded again
    places = [np.argwhere(frame > 12) for frame in change]
    columns = [np.median(place[:, 1]) for place in places if len(place) > 20]
    if len(columns) > 8:  # the hole moves with the scene, 4 pixels a frame to the left
        assert columns[-1] < columns[0] - 10


def test_a_job_is_stopped_and_the_page_is_ready_again(visit, app, film):
    psutil = import_for_browser("psutil", "train")
    page = visit()
    upload(page, film)
    page.locator("canvas").first.wait_for()
    paint(page)
    set_number(page, "number input for Minutes to learn", 5)
    page.get_by_role("button", name="Clean", exact=True).click()
    wait_for_status(page, "Learning from the film")
    page.get_by_role("button", name="Stop").click()
    wait_for_status(page, "Stopped.")

    def is_job(process):
        try:
            return "spawn_main" in " ".join(process.cmdline())
        except psutil.NoSuchProcess:  # it has just ended
            return False

    deadline = time.monotonic() + 60
    while any(is_job(child) for child in psutil.Process(app[1].pid).children(True)):
        assert time.monotonic() < deadline
        time.sleep(0.5)


@pytest.mark.parametrize(("width", "height", "scheme"), [(1280, 900, "light"), (390, 844, "dark")])
def test_the_page_fits_and_is_accessible(visit, film, width, height, scheme):
    axe = import_for_browser("axe_playwright_python.sync_playwright", "browser")
    page = visit(width, height, scheme)
    upload(page, film)
    page.locator("canvas").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = axe.Axe().run(page).response["violations"]
    serious = [
        (v["id"], n["html"]) for v in found if v["impact"] in ("serious", "critical") for n in v["nodes"]
    ]
    assert serious == []
