"""The live page's callbacks on tiny models, without a server."""

import errno

import numpy as np
import pytest
import torch
from PIL import Image

from diffmae_video import InputError, Mask
from diffmae_video.data import normalise, open_video
from diffmae_video.encoding.clips import write_video
from diffmae_video.models import MAE, Encoder
from diffmae_video.pages import live as live_module
from diffmae_video.pages.app import Callbacks, build_page, painted_area
from diffmae_video.pages.live import LiveInpainting, most_hidden
from tests.tiny_models import tiny_diffmae

FPS, FRAMES = 10, 40


def save(folder, model=None, recipe="DATA:\n  STRIDE: 2\n"):
    (model or tiny_diffmae()).save_pretrained(folder)
    (folder / "config.yaml").write_text(recipe)
    return folder


def film(path, size=(48, 64), count=FRAMES, fps=FPS):
    """Frame i is of the level 5 i."""
    write_video(path, np.stack([np.full((*size, 3), 5 * i, np.uint8) for i in range(count)]), fps)
    return path


@pytest.fixture
def live(tmp_path):
    return LiveInpainting(save(tmp_path / "run"))


@pytest.fixture
def do(live):
    return Callbacks(pytest.importorskip("gradio"), live)


def test_a_window_is_the_models_frames_from_its_start(tmp_path, live):
    path = film(tmp_path / "a.mp4")
    for start, first in ((0, 0), (1.0, 10), (1.04, 11), (99, 33)):
        window = live.read(path, start)
        assert window.frames.shape == (4, 32, 32, 3)
        level = window.frames.float().mean((1, 2, 3)) / 5
        assert level.tolist() == pytest.approx([first, first + 2, first + 4, first + 6], abs=0.5)
        assert window.start == pytest.approx(first / FPS)
        assert (window.fps, window.latest, window.is_picture) == (5, pytest.approx(3.3), False)


def test_a_picture_is_a_still_clip(tmp_path, live):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    window = live.read(tmp_path / "a.png", 5.0)
    assert (window.start, window.latest, window.is_picture) == (0, 0, True)
    assert all(np.array_equal(frame, noise) for frame in window.frames.numpy())


def test_large_frames_are_made_smaller_as_they_are_decoded(tmp_path, live, monkeypatch):
    opened = []
    whole = live_module.DecodingProcess.open

    def watched(*arguments):
        opened.append(whole(*arguments))
        return opened[-1]

    monkeypatch.setattr(live_module.DecodingProcess, "open", watched)
    live.read(film(tmp_path / "a.mp4", (300, 400), 8))
    assert (opened[0].height, opened[0].width) == (128, 171)


def test_too_long_and_too_slow_are_refused(tmp_path, live, monkeypatch):
    path = film(tmp_path / "a.mp4")
    monkeypatch.setattr(live_module, "MAX_SECONDS", 3)
    with pytest.raises(InputError, match=r"a\.mp4: is 4 s long, and at most 3 s are taken; cut it first"):
        live.read(path)
    live.timeout = 0.01
    with pytest.raises(InputError, match=r"no answer within 0\.01 s"):
        live.read(path)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm++"])
def test_refinements_are_the_steps_of_inpaint(tmp_path, live, sampler):
    window = live.read(film(tmp_path / "a.mp4"), 1.0)
    mask = live.draw_mask("tube", 0.75, 3)
    found = list(live.refine(window, mask, sampler, 5, 3))
    model = tiny_model(tmp_path)
    clip = normalise(window.frames[None], model.mean, model.std)
    expected = model.inpaint(clip, mask, sampler, 5, 3, return_steps=True)
    assert [r.t for r in found] == expected.timesteps
    assert [r.step for r in found] == [1, 2, 3, 4, 5]
    hidden = mask.to_pixels(model.patch)[0, 0]
    truth = window.frames.numpy().transpose(3, 0, 1, 2) / 255
    shift, scale = np.array(model.mean).reshape(3, 1, 1, 1), np.array(model.std).reshape(3, 1, 1, 1)
    for step, got in zip(expected.steps[:, 0].numpy(), found, strict=True):
        step = (step * scale + shift).clip(0, 1)
        assert got.clip.numpy() == pytest.approx(step, abs=1e-5)
        assert torch.equal(got.clip[:, ~hidden], torch.from_numpy(truth).float()[:, ~hidden])
        error = ((step - truth)[:, hidden.numpy()] ** 2).mean()
        assert got.psnr == pytest.approx(-10 * np.log10(error), abs=1e-3)
    assert torch.equal(live.hide(window, mask)[:, hidden], torch.full((3, int(hidden.sum())), 0.5))


def tiny_model(tmp_path):
    return LiveInpainting(tmp_path / "run").model


def test_a_painted_touch_masks_its_patch_in_all_frames(live):
    painted = np.zeros((128, 96), bool)  # the editor's own size
    painted[127, 0] = painted[33, 50] = True
    mask = live.draw_mask("painted", 0.75, 0, painted)
    expected = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    expected[:, :, 3, 0] = expected[:, :, 1, 2] = True
    assert torch.equal(mask.to_bool(), expected)
    for nothing in (None, np.zeros((9, 9), bool)):
        with pytest.raises(InputError, match="nothing is painted"):
            live.draw_mask("painted", 0.75, 0, nothing)
    with pytest.raises(InputError, match="none of the 32 patches visible"):
        live.draw_mask("painted", 0.75, 0, np.ones((9, 9), bool))


def test_painted_area_is_what_any_layer_covers():
    layers = np.zeros((2, 5, 6, 4), np.uint8)
    layers[0, 1, 2, 3], layers[1, 3, 4, 3], layers[:, 0, 0, :3] = 255, 9, 255
    area = painted_area({"layers": list(layers)})
    assert np.argwhere(area).tolist() == [[1, 2], [3, 4]]
    assert painted_area(None) is painted_area({"layers": []}) is None


def test_the_shown_frame_has_the_largest_hole():
    masked = torch.zeros(1, 4, 2, 2, dtype=torch.bool)
    masked[:, [0, 3], 0] = True
    masked[:, 2, 0, 0] = True
    assert most_hidden(Mask.from_bool(masked), (2, 8, 8)) == 0
    masked[:, 1:3] = True
    assert most_hidden(Mask.from_bool(masked), (2, 8, 8)) == 2


def test_the_same_seed_draws_the_same_mask(live):
    masks = [live.draw_mask("random", 0.75, seed).masked for seed in (1, 1, 2)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def run(do, path, **change):
    choices = {"start": 0.0, "kind": "random", "ratio": 0.75, "editor": None, "sampler": "ddim", "steps": 4}
    return do.run(path and str(path), **{**choices, "seed": 0, **change})


def test_a_run_ends_with_a_film_and_a_file(tmp_path, do, monkeypatch):
    monkeypatch.setattr("diffmae_video.pages.app.SHOWN_EVERY", 0)
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
    monkeypatch.setattr("diffmae_video.pages.app.SHOWN_EVERY", 1e9)
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
    live = LiveInpainting(save(tmp_path / "mae", mae))
    do = Callbacks(pytest.importorskip("gradio"), live)
    seen = [sentence for _, sentence, _, _ in run(do, film(tmp_path / "a.mp4"), steps=50)]
    assert len(seen) == 2
    assert "One pass: PSNR" in seen[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": None}, "choose a video or a picture first"),
        ({"seed": None}, "give a seed"),
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
    for call in (lambda: do.look(str(path), 0.0), lambda: list(run(do, path))):
        with pytest.raises(do.gradio.Error) as raised:
            call()
        assert raised.value.message.startswith("&lt;b&gt;.mp4: ")
        assert str(tmp_path) not in raised.value.message


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, do, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = film(tmp_path / "a.mp4")
    monkeypatch.setattr("diffmae_video.pages.app.write_video", full)
    with pytest.raises(do.gradio.Error, match="the disk is full"):
        list(run(do, path))
    assert not list((tmp_path / "temporary").iterdir())


def test_looking_gives_the_range_of_starts_and_the_first_frame(tmp_path, do):
    starts, editor = do.look(str(film(tmp_path / "a.mp4")), 2.0)
    assert (starts["maximum"], starts["value"], starts["visible"]) == (pytest.approx(3.3), 2.0, True)
    assert type(starts["value"]) is float  # numpy's would go to the page as text
    assert editor["background"].shape == (256, 256, 3)
    assert editor["background"].mean() == pytest.approx(100, abs=3)
    assert do.look(None, 0.0)[1] is None


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("none", "no config.json here"),
        ("encoder", "holds a Encoder, which does not inpaint"),
        ("normalised", "cannot be rendered"),
        ("bare", "config.yaml: no such file"),
    ],
)
def test_folders_without_a_model_that_inpaints(tmp_path, folder, message):
    save(tmp_path / "encoder", Encoder((16, 16), 4, (2, 8, 8), 32, 1, 2))
    save(tmp_path / "normalised", tiny_diffmae(normalize_target=True))
    tiny_diffmae().save_pretrained(tmp_path / "bare")
    with pytest.raises(InputError, match=message):
        LiveInpainting(tmp_path / folder)


@pytest.mark.parametrize("frames", [1, 4])
def test_the_page_is_built_for_pictures_and_clips(tmp_path, frames):
    gradio = pytest.importorskip("gradio")
    model = tiny_diffmae(frames=frames, patch=(min(2, frames), 8, 8))
    page = build_page(gradio, LiveInpainting(save(tmp_path / "run", model)))
    text = str(page.get_config_file())
    assert ("one picture of 32 × 32" if frames == 1 else "4 frames of 32 × 32 pixels, 2 apart") in text
