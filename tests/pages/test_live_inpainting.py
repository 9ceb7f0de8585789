"""Windows, masks and refinements of a tiny model."""

import numpy as np
import pytest
import torch
from PIL import Image

from diffmae_video import InputError, Mask
from diffmae_video.data import normalise
from diffmae_video.models import Encoder
from diffmae_video.pages import live_inpainting as module
from diffmae_video.pages.live_inpainting import LiveInpainting, fullest_frame
from tests.pages.uploads import FPS, film, save
from tests.tiny_models import tiny_diffmae


@pytest.fixture
def live(tmp_path):
    return LiveInpainting(save(tmp_path / "run"), "fp32")


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
    whole = module.DecodingProcess.open

    def watched(*arguments):
        opened.append(whole(*arguments))
        return opened[-1]

    monkeypatch.setattr(module.DecodingProcess, "open", watched)
    live.read(film(tmp_path / "a.mp4", (300, 400), 8))
    assert (opened[0].height, opened[0].width) == (128, 171)


def test_too_long_and_too_slow_are_refused(tmp_path, live, monkeypatch):
    path = film(tmp_path / "a.mp4")
    monkeypatch.setattr(module, "MAX_SECONDS", 3)
    with pytest.raises(InputError, match=r"a\.mp4: is 4 s long, and the limit is 3 s; cut it first"):
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
    assert torch.equal(live.grey_out(window, mask)[:, hidden], torch.full((3, int(hidden.sum())), 0.5))


def tiny_model(tmp_path):
    return LiveInpainting(tmp_path / "run", "fp32").model


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


def test_the_shown_frame_has_the_largest_hole():
    masked = torch.zeros(1, 4, 2, 2, dtype=torch.bool)
    masked[:, [0, 3], 0] = True
    masked[:, 2, 0, 0] = True
    assert fullest_frame(Mask.from_bool(masked), (2, 8, 8)) == 0
    masked[:, 1:3] = True
    assert fullest_frame(Mask.from_bool(masked), (2, 8, 8)) == 2


def test_the_same_seed_draws_the_same_mask(live):
    masks = [live.draw_mask("random", 0.75, seed).masked for seed in (1, 1, 2)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("none", "no config.json here"),
        ("encoder", "holds the model Encoder, which does not inpaint"),
        ("normalised", "cannot be rendered"),
        ("bare", "config.yaml: no such file"),
    ],
)
def test_folders_without_a_model_that_inpaints(tmp_path, folder, message):
    save(tmp_path / "encoder", Encoder((16, 16), 4, (2, 8, 8), 32, 1, 2))
    save(tmp_path / "normalised", tiny_diffmae(normalize_target=True))
    tiny_diffmae().save_pretrained(tmp_path / "bare")
    with pytest.raises(InputError, match=message):
        LiveInpainting(tmp_path / folder, "fp32")
