"""The page's event handlers on tiny models, without a server."""

import errno

import numpy as np
import pytest
from PIL import Image

from diffmae_video.data import open_video
from diffmae_video.models import MAE
from diffmae_video.pages.app_callbacks import Callbacks, painted_area
from diffmae_video.pages.live_inpainting import LiveInpainting
from tests.pages.uploads import film, save


@pytest.fixture
def do(tmp_path):
    return Callbacks(pytest.importorskip("gradio"), LiveInpainting(save(tmp_path / "run"), "fp32"))


def test_painted_area_is_what_any_layer_covers():
    layers = np.zeros((2, 5, 6, 4), np.uint8)
    layers[0, 1, 2, 3], layers[1, 3, 4, 3], layers[:, 0, 0, :3] = 255, 9, 255
    area = painted_area({"layers": list(layers)})
    assert np.argwhere(area).tolist() == [[1, 2], [3, 4]]
    assert painted_area(None) is painted_area({"layers": []}) is None


def run(do, path, **change):
    choices = {"start": 0.0, "kind": "random", "ratio": 0.75, "editor": None, "sampler": "ddim", "steps": 4}
    return do.run(path and str(path), **{**choices, "seed": 0, **change})


def test_a_run_ends_with_a_film_and_a_file(tmp_path, do, monkeypatch):
    monkeypatch.setattr("diffmae_video.pages.app_callbacks.REFRESH_SECONDS", 0)
    seen, path = [], film(tmp_path / "a.mp4")
    for picture, sentence, beside, file in run(do, path, kind="tube", seed=7):
        seen.append((picture, sentence))
        if file["interactive"]:  # while they are there
            assert file["value"].endswith("a-tube-7.mp4")
            for name, size in ((file["value"], (32, 32)), (beside["value"], (256 + 20, 3 * 256 + 12))):
                with open_video(name, "pyav") as video:
                    assert (video.num_frames, video.fps) == (4, 5)
                    assert (video.height, video.width) == size
    assert len(seen) == 5  # four steps and the files
    assert all(picture.shape == (276, 780, 3) for picture, _ in seen[:4])
    assert "Step 1 of 4, t = 1000: PSNR in the hole" in seen[0][1]
    # what refines is on the right; truth and masked input stay
    assert all(np.array_equal(seen[0][0][:, :518], picture[:, :518]) for picture, _ in seen[:4])
    assert not np.array_equal(seen[0][0][20:, 524:], seen[3][0][20:, 524:])


def test_pictures_of_a_run_come_at_a_bounded_rate(tmp_path, do, monkeypatch):
    monkeypatch.setattr("diffmae_video.pages.app_callbacks.REFRESH_SECONDS", 1e9)
    seen = [sentence for _, sentence, _, _ in run(do, film(tmp_path / "a.mp4"), steps=9)]
    assert len(seen) == 3
    assert "Step 1 of 9" in seen[0]
    assert "Step 9 of 9" in seen[1]


def test_a_picture_ends_with_a_png_of_it(tmp_path, do):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    for _, _, beside, file in run(do, tmp_path / "a.png", kind="center"):
        if file["interactive"]:
            result = np.asarray(Image.open(file["value"]))
            assert beside["visible"] is False
    differs = (result != noise).any(2)
    assert differs[8:24, 8:24].mean() > 0.9
    assert differs.sum() == differs[8:24, 8:24].sum()


def test_an_mae_answers_in_one_pass(tmp_path):
    mae = MAE((32, 32), 4, (2, 8, 8), *[{"width": 32, "depth": 1, "heads": 2}] * 2)
    live = LiveInpainting(save(tmp_path / "mae", mae), "fp32")
    do = Callbacks(pytest.importorskip("gradio"), live)
    seen = [sentence for _, sentence, _, _ in run(do, film(tmp_path / "a.mp4"), steps=50)]
    assert len(seen) == 2
    assert "One pass: PSNR" in seen[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": None}, "choose a video or a picture first"),
        ({"seed": None}, "enter a seed"),
        ({"kind": "painted"}, "nothing is painted"),
        ({"ratio": 1.0}, "leaves nothing visible"),
        ({"steps": 0}, "steps must be from 1"),
    ],
)
def test_mistakes_are_one_line_on_the_page(tmp_path, do, change, message):
    change = {"path": film(tmp_path / "a.mp4"), **change}
    with pytest.raises(do.gradio.Error, match=message) as raised:
        list(run(do, change.pop("path"), **change))
    assert "\n" not in raised.value.message
    assert not raised.value.print_exception


def test_a_broken_file_is_named_without_the_servers_folder(tmp_path, do):
    path = tmp_path / "<b>.mp4"
    path.write_bytes(film(tmp_path / "a.mp4").read_bytes()[:900])
    for call in (lambda: do.show_window(str(path), 0.0), lambda: list(run(do, path))):
        with pytest.raises(do.gradio.Error) as raised:
            call()
        assert raised.value.message.startswith("&lt;b&gt;.mp4: ")
        assert str(tmp_path) not in raised.value.message


def test_a_full_disk_shows_a_message_and_leaves_no_files(tmp_path, do, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = film(tmp_path / "a.mp4")
    monkeypatch.setattr("diffmae_video.pages.app_callbacks.write_video", full)
    with pytest.raises(do.gradio.Error, match="the disk is full"):
        list(run(do, path))
    assert not list((tmp_path / "temporary").iterdir())


def test_showing_a_window_gives_the_range_of_starts_and_the_first_frame(tmp_path, do):
    starts, editor = do.show_window(str(film(tmp_path / "a.mp4")), 2.0)
    assert (starts["maximum"], starts["value"], starts["visible"]) == (pytest.approx(3.3), 2.0, True)
    assert type(starts["value"]) is float  # numpy's would go to the page as text
    assert editor["background"].shape == (256, 256, 3)
    assert editor["background"].mean() == pytest.approx(100, abs=3)
    assert do.show_window(None, 0.0)[1] is None
