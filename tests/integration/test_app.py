"""tools/app.py in a browser, as a user finds it."""

import io
import time

import numpy as np
import pytest
import torch
from PIL import Image

from diffmae_video import Mask
from diffmae_video.data import normalise, open_video
from diffmae_video.encoding.clips import write_video
from diffmae_video.models import load_model
from diffmae_video.pages.live_inpainting import LiveInpainting
from tests.browser import import_for_browser
from tests.integration.app_server import (
    download,
    refusal,
    running_app,
    set_number,
    shown,
    status,
    upload,
    visits,
    wait_for_status,
)
from tests.tiny_models import tiny_diffmae

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    tiny_diffmae(frames=4, size=(64, 64)).save_pretrained(folder)
    (folder / "config.yaml").write_text("DATA:\n  STRIDE: 2\n")
    return folder


@pytest.fixture(scope="module")
def app(checkpoint, tmp_path_factory):
    with running_app(tmp_path_factory.mktemp("app"), "--checkpoint", checkpoint) as running:
        yield running


@pytest.fixture
def visit(app, browser):
    with visits(app[0], browser, "Run") as visit:
        yield visit


def test_a_clip_refines_and_is_there_to_download(visit, app, checkpoint, real_clips, tmp_path):
    page = visit()
    upload(page, real_clips["bikes"])
    page.get_by_text("Start of the window").wait_for()
    set_number(page, "number input for Start of the window", 4.0)
    page.get_by_label("tube").check()
    set_number(page, "number input for Steps", 1000)
    set_number(page, "Seed", 5)
    page.get_by_role("button", name="Run").click()
    wait_for_status(page, "of 1000")
    pictures, sentences = set(), set()
    while page.locator("video").count() == 0:
        sentences.add(status(page))
        pictures.add(shown(page))
    assert status(page).startswith("Step 1000 of 1000, t = 1: PSNR in the hole ")
    assert len(sentences) > 2  # a busy machine's browser is too slow for most
    assert len(pictures) > 1

    page.wait_for_function("document.querySelector('video').readyState > 1")
    path = download(page, tmp_path)
    assert path.name == "bikes-tube-5.mp4"
    live = LiveInpainting(checkpoint, "fp32")
    window, mask = live.read(real_clips["bikes"], 4.0), live.draw_mask("tube", 0.75, 5)
    *_, last = live.refine(window, mask, "ddim", 1000, 5)
    assert f"PSNR in the hole {last.psnr:.1f} dB" in status(page)
    with open_video(path, "pyav") as video:
        assert (video.num_frames, video.height, video.width) == (4, 64, 64)
        assert video.fps == pytest.approx(window.fps)
        frames = video.frames(range(4)).astype(float)
    expected = last.clip.permute(1, 2, 3, 0).numpy() * 255
    assert np.abs(frames - expected).mean() < 12  # H.264 halves the colours of noise
    hidden = mask.to_pixels(live.model.patch)[0, 0].numpy()
    assert np.abs(frames - window.frames.numpy())[~hidden].mean() < 12
    assert np.abs(frames - window.frames.numpy())[hidden].mean() > 30

    # it listens on this machine alone
    psutil = import_for_browser("psutil", "train")
    listening = [c for c in psutil.Process(app[1].pid).net_connections() if c.status == "LISTEN"]
    assert {c.laddr.ip for c in listening} == {"127.0.0.1"}


def test_a_painted_hole_of_a_picture(visit, checkpoint, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    page = visit()
    page.get_by_label("painted").check()
    upload(page, tmp_path / "noise.png")
    canvas = page.locator("canvas").first
    canvas.wait_for()
    page.get_by_role("button", name="Run").click()
    assert "nothing is painted" in refusal(page)
    time.sleep(1)  # the editor fits its picture to the page
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y, steps=5)
    page.mouse.up()
    time.sleep(1)  # it sends its layer a moment after the brush is lifted
    set_number(page, "number input for Steps", 6)
    page.get_by_label("dpm++").check()
    page.get_by_role("button", name="Run").click()
    wait_for_status(page, "Step 6 of 6")
    path = download(page, tmp_path)
    assert path.name == "noise-painted-0.png"
    result = np.asarray(Image.open(path))
    changed = (result != pixels).any(2).reshape(8, 8, 8, 8).mean((1, 3))
    assert set(np.unique(changed > 0.5)) == {False, True}
    assert changed[changed <= 0.5].max() == 0  # whole patches, and the rest is untouched
    assert changed[3:5, 3:5].min() > 0.9
    assert changed[0].max() == changed[-1].max() == 0
    # by hand, with the mask that is to be seen
    model = load_model(checkpoint)
    mask = Mask.from_bool(torch.from_numpy(changed > 0.5).expand(1, 2, -1, -1))
    clip = normalise(torch.from_numpy(pixels).expand(1, 4, -1, -1, -1), model.mean, model.std)
    filled = model.inpaint(clip, mask, "dpm++", 6, 0).clip[0].permute(1, 2, 3, 0)
    expected = (filled * torch.tensor(model.std) + torch.tensor(model.mean)).clamp(0, 1) * 255
    # one of the frames with the largest hole
    assert min(np.abs(result - frame).max() for frame in expected.numpy()) < 1


def test_stop_ends_a_run_and_another_one_starts(visit, real_clips):
    page = visit()
    upload(page, real_clips["carphone_pristine"])
    page.get_by_text("Start of the window").wait_for()
    set_number(page, "number input for Steps", 1000)
    page.get_by_role("button", name="Run").click()
    wait_for_status(page, "of 1000")
    page.get_by_role("button", name="Stop").click()
    wait_for_status(page, "Stopped.")
    set_number(page, "number input for Steps", 2)
    stopped = page.locator("p[role=status]").filter(has_text="Stopped.")
    for _ in range(60):  # gradio skips a click as long as it has not noted that the former run ended
        page.get_by_role("button", name="Run").click()
        page.wait_for_timeout(1000)
        if not stopped.is_visible():
            break
    wait_for_status(page, "Step 2 of 2")
    page.locator("video").wait_for()


def test_refused_uploads_show_a_message(visit, app, tmp_path):
    page = visit()
    page.get_by_role("button", name="Run").click()
    assert "choose a video or a picture first" in refusal(page)
    frames = np.zeros((700, 16, 16, 3), np.uint8)
    write_video(tmp_path / "long.mp4", frames, fps=1)
    (tmp_path / "broken.mp4").write_bytes((tmp_path / "long.mp4").read_bytes()[:900])
    with (tmp_path / "large.mp4").open("wb") as file:
        file.truncate(201 * 1024**2)
    for name, message in (
        ("long.mp4", "long.mp4: is 699 s long, and the limit is 600 s; cut it first"),
        ("broken.mp4", "broken.mp4: PyAV cannot read it"),
        ("large.mp4", 'File(s) exceed the maximum allowed size of 200.0 Mb: "large.mp4"'),
    ):
        page = visit()
        upload(page, tmp_path / name)
        page.get_by_test_id("toast-body").wait_for()
        page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
        said = refusal(page)
        assert message in said
        assert "/" not in said
    with (tmp_path / "large.mp4").open("rb") as file:  # past the page
        httpx = import_for_browser("httpx", "app")
        assert httpx.post(f"{app[0]}gradio_api/upload", files={"files": file}).status_code == 413


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_is_accessible(visit, real_clips, width, height, scheme, tmp_path):
    axe = import_for_browser("axe_playwright_python.sync_playwright", "browser")
    page = visit(width, height, scheme)
    upload(page, real_clips["bikes"])
    page.get_by_text("Start of the window").wait_for()
    set_number(page, "number input for Steps", 2)
    page.get_by_role("button", name="Run").click()
    page.locator("video").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = Image.open(io.BytesIO(page.screenshot())).convert("L").getpixel((2, 2))
    assert (background < 60) == (scheme == "dark")
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    found = axe.Axe().run(page).response["violations"]
    serious = [
        (v["id"], n["html"]) for v in found if v["impact"] in ("serious", "critical") for n in v["nodes"]
    ]
    assert serious == []
