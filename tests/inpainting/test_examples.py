"""Examples of a gallery against calls of the model made by hand."""

import numpy as np
import pytest
import torch
from PIL import Image

from diffmae_video.data import denormalise, normalise
from diffmae_video.inpainting.examples import (
    SAMPLES,
    VIDEO_TASKS,
    Source,
    count_examples,
    inpaint_examples,
    read_sources,
)
from diffmae_video.inpainting.simple_fills import interpolated_fill
from diffmae_video.masks import Mask
from diffmae_video.models import MAE
from tests.tiny_models import tiny_diffmae

NARROW = {"width": 32, "depth": 1, "heads": 2}


def make_source(name="film", is_picture=False, frames=4, size=32):
    clip = torch.randint(0, 256, (frames, size, size, 3), dtype=torch.uint8)
    return Source(name, clip[:1].expand(frames, -1, -1, -1) if is_picture else clip, is_picture)


def tiny_mae(frames=4, **kwargs):
    return MAE((32, 32), frames, (2, 8, 8), NARROW, NARROW, **kwargs).eval()


def mask_of(example, patch=(2, 8, 8)):
    frames, height, width = example.masked.shape
    grid = (frames // patch[0], height // patch[1], width // patch[2])
    return Mask.from_pixels(torch.from_numpy(example.masked), grid, patch)


def test_frames_are_the_predictions_at_their_timesteps():
    model, mae, film = tiny_diffmae(), tiny_mae(), make_source()
    for example in inpaint_examples(model, mae, [film], seed=5):
        mask = mask_of(example)
        clip = normalise(film.clip[None], model.mean, model.std)
        result = model.inpaint(clip, mask, "dpm++", 10, 5, True, num_samples=SAMPLES)
        assert example.timesteps == result.timesteps
        assert example.timesteps[0] == 1000
        assert len(example.samples) == SAMPLES
        for n, sample in enumerate(example.samples):
            pixels = denormalise(result.steps[:, n], model.mean, model.std).clamp(0, 1)
            assert np.abs(sample.frames / 255 - pixels.movedim(1, -1).numpy()).max() < 0.51 / 255
        predicted = mae.inpaint(clip, mask).clip
        pixels = denormalise(predicted, mae.mean, mae.std).clamp(0, 1)[0].movedim(0, -1).numpy()
        assert np.abs(example.mae.frames[0] / 255 - pixels).max() < 0.51 / 255


def test_scores_agree_with_numpy_and_visible_pixels_are_the_truth():
    (example, *_) = inpaint_examples(tiny_diffmae(), tiny_mae(), [make_source()])
    hidden = example.masked
    for fill in (*example.samples, example.mae):
        for step, frames in enumerate(fill.frames):
            assert np.array_equal(frames[~hidden], example.truth[~hidden])
            error = (frames[hidden] / 255 - example.truth[hidden] / 255) ** 2
            assert fill.psnr[step] == pytest.approx(-10 * np.log10(error.mean()), abs=0.05)
        assert len(fill.psnr) == len(fill.gradient) == len(fill.frames)
        assert fill.seconds > 0
    assert np.array_equal(example.given[~hidden], example.truth[~hidden])
    assert set(np.unique(example.given[hidden])) == {128}
    mean = example.truth[~hidden].mean(0) / 255
    error = (example.truth[hidden] / 255 - mean) ** 2
    assert example.mean_psnr == pytest.approx(-10 * np.log10(error.mean()), abs=1e-3)
    clip = torch.from_numpy(example.truth).movedim(-1, 0)[None] / 255
    linear = interpolated_fill(clip, torch.from_numpy(hidden)[None, None])[0].movedim(0, -1).numpy()
    error = (example.truth[hidden] / 255 - linear[hidden]) ** 2
    assert example.interpolation_psnr == pytest.approx(-10 * np.log10(error.mean()), abs=1e-3)


def test_samples_differ_under_the_mask_and_depend_on_the_seed():
    model, sources = tiny_diffmae(), [make_source()]
    first, again, other = (next(inpaint_examples(model, None, sources, seed)) for seed in (0, 0, 1))
    one, two, _ = (sample.frames[-1] for sample in first.samples)
    assert (one != two)[first.masked].mean() > 0.5
    assert np.array_equal(one, again.samples[0].frames[-1])
    assert not np.array_equal(first.masked, other.masked)


def test_the_encoder_runs_once_for_a_masked_clip():
    model, mae, calls = tiny_diffmae(), tiny_mae(), []
    for each in (model, mae):
        tap = each.encoder.tap
        each.encoder.tap = lambda clip, mask, blocks, tap=tap: (
            calls.append(len(clip)) or tap(clip, mask, blocks)
        )
    examples = list(inpaint_examples(model, mae, [make_source()]))
    assert calls == [1] * 2 * len(examples)


def test_pictures_are_spared_the_tasks_about_time():
    model, sources = tiny_diffmae(), [make_source(), make_source("picture", is_picture=True)]
    examples = list(inpaint_examples(model, None, sources))
    tasks = [(example.task, example.name) for example in examples]
    pictures = [("random75", "picture"), ("center", "picture")]
    assert tasks == sorted(
        [*((task, "film") for task in VIDEO_TASKS), *pictures],
        key=lambda x: (VIDEO_TASKS.index(x[0]), x[1] != "film"),
    )
    assert count_examples(model, sources) == len(tasks)
    shares = {(e.task, e.name): e.masked.mean() for e in examples}
    assert shares["random75", "film"] == shares["random75", "picture"] == 0.75
    assert shares["center", "film"] == 0.25
    assert shares["random90", "film"] == pytest.approx(0.9, abs=0.02)
    future = next(e for e in examples if e.task == "future").masked
    assert future[2:].all()
    assert not future[:2].any()
    for example in examples:
        assert len(example.truth) == (4 if example.name == "film" else 1)
        assert example.mae is None
        assert (example.interpolation_psnr is None) == (example.name == "picture")


def test_a_picture_is_masked_alike_in_all_frames():
    model, seen = tiny_diffmae(), []
    inpaint = model.inpaint
    model.inpaint = lambda clip, mask, *args, **kwargs: (
        seen.append(mask) or inpaint(clip, mask, *args, **kwargs)
    )
    list(inpaint_examples(model, None, [make_source(is_picture=True)]))
    for mask in seen:
        hidden = mask.to_bool()[0]
        assert torch.equal(hidden, hidden[:1].expand_as(hidden))


def test_sources_are_read_at_the_models_size(tmp_path, real_clips):
    Image.new("RGB", (50, 40), (200, 10, 10)).save(tmp_path / "red.png")
    film, picture = read_sources([real_clips["bikes"], tmp_path / "red.png"], tmp_path, tiny_diffmae())
    assert film.name == "bikes.mp4"
    assert film.clip.shape == picture.clip.shape == (4, 32, 32, 3)
    assert (film.is_picture, picture.is_picture) == (False, True)
    assert (picture.clip == torch.tensor([200, 10, 10])).all()
    image_model = tiny_diffmae(frames=1, patch=(1, 8, 8))
    assert read_sources([real_clips["bikes"]], tmp_path, image_model)[0].is_picture


def test_a_folder_of_frames_is_a_video(tmp_path):
    (tmp_path / "frames").mkdir()
    for i in range(30):  # 10.png follows 9.png
        Image.new("RGB", (40, 40), (8 * i, 0, 0)).save(tmp_path / "frames" / f"{i}.png")
    (source,) = read_sources([tmp_path / "frames"], tmp_path, tiny_diffmae())
    assert not source.is_picture
    reds = source.clip[:, 0, 0, 0].tolist()
    assert reds == sorted(set(reds))
