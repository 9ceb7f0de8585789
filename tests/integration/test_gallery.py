"""tools/gallery.py as users start it, and its page in a browser."""

import base64
import io
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from diffmae_video.inpainting.examples import inpaint_examples, read_sources
from diffmae_video.models import MAE, load_model
from tests.browser import import_for_browser, opened, served
from tests.calls import diffmae
from tests.tiny_models import tiny_diffmae

EVIL = '<img src=x onerror="document.title=1">.png'
FRAMES, STEPS = 8, 10
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def made(tmp_path_factory, real_clips):
    """The folder with the models, the inputs and a gallery of a film and of a picture with a bad name."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("gallery")
    tiny_diffmae(frames=FRAMES).save_pretrained(folder / "model")
    narrow = {"width": 32, "depth": 1, "heads": 2}
    MAE((32, 32), FRAMES, (2, 8, 8), narrow, narrow).save_pretrained(folder / "mae")
    chance = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    Image.fromarray(chance).resize((64, 64)).save(folder / EVIL)
    shutil.copy(real_clips["carphone_pristine"], folder / "film.mp4")
    done = diffmae(
        "gallery",
        *("--checkpoint", folder / "model", "--mae", folder / "mae", "--output", folder / "page"),
        *("--input", folder / "film.mp4", folder / EVIL),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"open {folder / 'page/index.html'}\n"
    return folder


@pytest.fixture(scope="module")
def examples(made):
    model, mae = load_model(made / "model"), load_model(made / "mae")
    sources = read_sources([made / "film.mp4", made / EVIL], made / "model", model)
    return list(inpaint_examples(model, mae, sources))


@pytest.fixture(scope="module")
def url(made):
    with served(made / "page") as address:
        yield f"{address}/index.html"


def row(page, number):
    found = page.locator(f"[data-example='{number}']")
    found.scroll_into_view_if_needed()
    return found


def shown(example, cell):
    """The pixels of a canvas, uint8 [h, w, 3], and the number of the frame that it shows."""
    canvas = example.locator(f"[data-cell={cell}]")
    canvas.locator("xpath=self::*[@data-frame]").wait_for(state="attached")
    example.page.evaluate("() => new Promise((done) => setTimeout(done, 150))")
    data, frame = canvas.evaluate("(canvas) => [canvas.toDataURL('image/png'), canvas.dataset.frame]")
    picture = Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2])))
    return np.asarray(picture.convert("RGB")).astype(int), int(frame)


def error(picture, frames, frame):
    return np.abs(picture - frames[frame]).mean()


def test_the_slider_shows_the_prediction_of_the_timestep_that_it_names(browser, url, examples):
    with opened(browser, url, reduced_motion="reduce") as page:
        for number in (0, 1, len(examples) - 1):
            expected, example = examples[number], row(page, number)
            slider = example.get_by_role("slider")
            for place in (0, 4, STEPS - 1):
                slider.fill(str(place))
                t = expected.timesteps[place]
                label = f"t = {t}, step {place + 1} of {STEPS}"
                assert slider.get_attribute("aria-valuetext") == label
                assert example.locator(".place").text_content() == label
                psnr = f"PSNR {expected.samples[0].psnr[place]:.1f} dB"
                assert example.locator(".figures").first.text_content().startswith(psnr)
                picture, frame = shown(example, "diffmae")
                errors = [error(picture, frames, frame) for frames in expected.samples[0].frames]
                assert np.argmin(errors) == place  # and not another step's
                assert errors[place] < 1
            for cell, frames in (("truth", expected.truth), ("mae", expected.mae.frames[0])):
                picture, frame = shown(example, cell)
                assert error(picture, frames, frame) < 1


def test_the_slider_and_all_buttons_go_by_the_keyboard(browser, url, examples):
    with opened(browser, url, reduced_motion="reduce") as page:
        example = row(page, 0)
        example.locator(".play").focus()
        page.keyboard.press("Space")
        assert example.locator(".play").text_content().startswith("Pause")
        page.keyboard.press("Space")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.type") == "range"
        page.keyboard.press("Home")
        picture, frame = shown(example, "diffmae")
        assert error(picture, examples[0].samples[0].frames[0], frame) < 1
        page.keyboard.press("ArrowRight")
        assert example.locator(".place").text_content().endswith("step 2 of 10")
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")  # the second sample
        picture, frame = shown(example, "diffmae")
        assert error(picture, examples[0].samples[1].frames[1], frame) < 1
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        button = example.locator(".peek").first
        assert button.get_attribute("aria-pressed") == "true"
        picture, frame = shown(example, "diffmae")
        assert error(picture, examples[0].given, frame) < 1


def test_hover_and_tap_show_the_masked_input(browser, url, examples):
    given = examples[0].given
    with opened(browser, url, reduced_motion="reduce") as page:
        example = row(page, 0)
        fills = {"diffmae": examples[0].samples[0].frames[-1], "mae": examples[0].mae.frames[0]}
        for cell, frames in fills.items():
            button = example.locator(".peek", has=page.locator(f"[data-cell={cell}]"))
            picture, frame = shown(example, cell)
            assert error(picture, frames, frame) < 1
            button.hover()
            picture, frame = shown(example, cell)
            assert error(picture, given, frame) < 1
            assert button.locator(".tag").is_visible()
            page.mouse.move(0, 0)
            picture, frame = shown(example, cell)
            assert error(picture, frames, frame) < 1
            assert not button.locator(".tag").is_visible()
    with opened(browser, url, reduced_motion="reduce", has_touch=True, viewport=PHONE) as page:
        example = row(page, 0)
        button = example.locator(".peek").first
        for pressed, frames in (("true", given), ("false", examples[0].samples[0].frames[-1])):
            button.tap()
            assert button.get_attribute("aria-pressed") == pressed
            picture, frame = shown(example, "diffmae")
            assert error(picture, frames, frame) < 1


def test_the_clips_of_a_row_play_in_step_and_pause(browser, url):
    frames = "(row) => [...row.querySelectorAll('canvas')].map((canvas) => canvas.dataset.frame)"
    with opened(browser, url) as page:
        example = row(page, 0)
        shown(example, "mae")
        page.wait_for_timeout(500)  # until all are loaded
        seen = set()
        for _ in range(20):
            now = example.evaluate(frames)
            assert len(set(now)) == 1, now
            seen.add(now[0])
            page.wait_for_timeout(100)
        assert len(seen) > 3
        example.locator(".play").click()
        page.wait_for_timeout(100)
        before = example.evaluate(frames)
        page.wait_for_timeout(700)
        assert example.evaluate(frames) == before
        assert example.locator(".play").text_content().startswith("Play")
    with opened(browser, url, reduced_motion="reduce") as page:
        assert row(page, 0).locator(".play").text_content().startswith("Play")  # until asked


def test_the_first_screen_shows_a_large_result_crisp_or_smooth(browser, url):
    for size in (DESKTOP, PHONE):
        with opened(browser, url, reduced_motion="reduce", viewport=size) as page:
            result = page.locator("[data-cell=diffmae]").first
            box = result.bounding_box()
            assert box["width"] > 290
            assert box["y"] + box["height"] < size["height"]
            for choice, style in (("smooth", "auto"), ("crisp", "pixelated")):
                page.get_by_label(choice).check()
                assert result.evaluate("(canvas) => getComputedStyle(canvas).imageRendering") == style


def test_names_are_text(browser, url, examples):
    with opened(browser, url) as page:
        assert page.title() == "DiffMAE gallery"
        assert page.locator("main img").count() == 0
        assert page.locator("h3", has_text=EVIL).count() == sum(e.name == EVIL for e in examples) == 2


def test_it_opens_from_disk(browser, made):
    page_url = (made / "page/index.html").as_uri()
    with opened(browser, page_url, reduced_motion="reduce") as page:
        example = row(page, 0)
        canvas = example.locator("[data-cell=diffmae]")
        canvas.locator("xpath=self::*[@data-frame]").wait_for(state="attached")
        last = canvas.screenshot()
        example.get_by_role("slider").fill("0")
        page.wait_for_timeout(500)
        assert canvas.screenshot() != last


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_for_axe_and_nothing_cut_off(browser, url, size, scheme):
    axe = import_for_browser("axe_playwright_python.sync_playwright", "browser").Axe()
    with opened(browser, url, viewport=size, color_scheme=scheme) as page:
        for summary in page.locator("summary").all():
            summary.click()
        found = axe.run(page).response["violations"]
        assert [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in SERIOUS] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(int(v) for v in background[4:-1].split(",")) > 384) == (scheme == "light")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--checkpoint", "mae"], "mae: a MAE predicts in one pass; give a DiffMAE"),
        (["--checkpoint", "model", "--mae", "other"], "other: takes clips of [4, 32, 32] in patches"),
        (["--checkpoint", "model", "--input", "none.mp4"], "none.mp4"),
        (["--checkpoint", "nowhere"], "nowhere: no config.json here"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(made, tmp_path, arguments, message):
    narrow = {"width": 32, "depth": 1, "heads": 2}
    MAE((32, 32), 4, (2, 8, 8), narrow, narrow).save_pretrained(made / "other")
    given = [made / x if x in ("mae", "model", "other", "nowhere") else x for x in arguments]
    if "--input" not in given:
        given += ["--input", made / "film.mp4"]
    done = diffmae("gallery", *given, "--output", tmp_path / "page")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "page").exists()
