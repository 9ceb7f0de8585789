"""The demo in a small configuration, as a user starts it: real clips, real DeepSpeed, real files."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from diffmae_video import Mask, load_model
from diffmae_video.data import Entry, open_video, read_list, uniform_clips
from diffmae_video.inpainting.sample_scores import score_samples
from diffmae_video.models import MAE
from tests.browser import chromium, opened
from tests.calls import diffmae
from tests.repository import ROOT

SMALL = [
    *("DATA.SIZE", "32", "DATA.NUM_FRAMES", "8", "TRAIN.MAX_STEPS", "40", "TRAIN.WARMUP_STEPS", "5"),
    *("MODEL.ENCODER.WIDTH", "128", "MODEL.ENCODER.DEPTH", "2", "MODEL.DECODER.WIDTH", "128"),
]


def demo(*arguments, cwd):
    # through a shell, as users do: a process that we start counts our own memory as its peak
    shell = ["sh", "-c", '"$@"; exit $?', "sh"]
    command = [*shell, sys.executable, str(ROOT / "tools/demo.py"), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def run(tmp_path_factory, clips_dir):
    folder = tmp_path_factory.mktemp("demo")
    done = demo(*SMALL, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done, folder / "outputs/demo"


@pytest.mark.slow
def test_the_files_are_there_and_whole(run):
    done, output = run
    assert "sample (PSNR)" in done.stdout
    assert f"open {output / 'index.html'}" in done.stdout
    metrics = json.loads((output / "metrics.json").read_text())
    wanted = ["mean_fill", "nearest_fill", "first_prediction", "sample"]
    for name in [f"{w}_psnr" for w in [*wanted, "mae"]] + [
        "sample_std_ratio",
        "sample_motion_ratio",
        "sample_gradient_ratio",
        "mae_gradient_ratio",
    ]:
        assert np.isfinite(metrics[name])
        assert set(metrics["parts"]) == {"same videos, later", "unseen video"}
    assert metrics["train_seconds"] > 0
    assert metrics["clips_seen"] == metrics["mae_clips_seen"] == 40 * 4
    assert metrics["mae_train_seconds"] > 0
    assert 0 < metrics["peak_rss_mb"] < 4096
    Image.open(output / "loss.png").verify()
    page = (output / "index.html").read_text()
    for clip in sorted(output.glob("example-*.mp4")):
        assert clip.name in page
        with open_video(clip) as video:
            assert video.num_frames == 8
            frames = video.frames(range(8))
        assert frames[:, 30:].std() > 20  # not blank
        with Image.open(clip.with_suffix(".gif")) as gif:
            assert gif.n_frames > 1
    assert len(list(output.glob("example-*.mp4"))) == 3 * 4  # stretches, sections
    assert len(list((output / "media").iterdir())) == 12 * (2 + 3 * 10 + 1)
    assert "http" not in page


@pytest.mark.slow
def test_the_page_is_the_gallery_with_mae_beside(run):
    _, output = run
    with chromium() as browser, opened(browser, (output / "index.html").as_uri()) as page:
        example = page.locator("[data-example='0']")
        assert example.locator("figcaption b").all_text_contents() == [
            *("Truth", "Masked input", "DiffMAE", "MAE")
        ]
        assert page.locator("section > h2").all_text_contents()[:4] == [
            *("Random mask", "Centre mask", "Video", "Prediction of the future")
        ]
        figures = page.locator("td").all_text_contents()
        metrics = json.loads((output / "metrics.json").read_text())
        assert f"{metrics['mae_psnr']:.2f}" in figures
    assert isinstance(load_model(output / "mae"), MAE)


@pytest.mark.slow
def test_a_passer_by_is_taken_out_of_a_film(run):
    _, output = run
    with open_video(output / "film/before.mp4") as before, open_video(output / "film/after.mp4") as after:
        assert before.num_frames == after.num_frames == 55
        walking, gone = (np.asarray(video.frames([11])[0], float) for video in (before, after))
        street = np.asarray(before.frames([45])[0], float)  # he has left
    thigh = slice(20, 110), slice(330, 400)  # of the man, over a wall and a bicycle that are brighter
    assert walking[thigh].mean() < street[thigh].mean() - 20
    assert abs(gone[thigh].mean() - street[thigh].mean()) < 20
    film = json.loads((output / "metrics.json").read_text())["film"]
    assert film["estimate"]["gain"] > 3
    with chromium() as browser, opened(browser, (output / "index.html").as_uri()) as page:
        assert page.locator("video").count() == 2
        assert page.locator("video").nth(1).evaluate("v => v.readyState") >= 1


@pytest.mark.slow
def test_the_loss_fell_and_every_step_has_a_line(run):
    _, output = run
    rows = [json.loads(line) for line in (output / "checkpoint/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 41))
    assert np.mean([r["loss"] for r in rows[-10:]]) < 0.8 * np.mean([r["loss"] for r in rows[:5]])


@pytest.mark.slow
def test_held_out_frames_were_never_trained_on(run):
    _, output = run
    trained = read_list(output / "lists/train.csv")
    later = {e.path: e for e in read_list(output / "lists/same_videos_later.csv")}
    assert len(trained) == 2
    for entry in trained:
        with open_video(entry.path) as video:
            assert abs(entry.end * video.fps - int(0.8 * video.num_frames)) < 1e-3
        assert later[entry.path].start == entry.end
    (unseen,) = read_list(output / "lists/unseen_video.csv")
    assert "carphone" in unseen.path
    assert unseen.path not in {e.path for e in trained}


@pytest.mark.slow
def test_the_figures_can_be_made_again_from_the_checkpoint(run, real_clips):
    _, output = run
    model = load_model(output / "checkpoint")
    clips = uniform_clips(Entry(str(real_clips["carphone_pristine"])), 8, 8, 1, (32, 32), "decord")
    mask = Mask.random(8, model.encoder.grid, 0.75, torch.Generator().manual_seed(9))
    metrics = score_samples(model, clips, mask, 50)
    reported = json.loads((output / "metrics.json").read_text())["parts"]["unseen video"]
    for name in ("mean_fill_psnr", "first_prediction_psnr", "sample_psnr"):
        assert abs(metrics[name] - reported[name]) < 1.0, name


@pytest.mark.parametrize(
    ("files", "arguments", "message"),
    [
        ({}, [], "no video in it"),
        ({"notes.txt": "a"}, [], "no video in it"),
        ({"clip.mp4": "this is text"}, [], "clip.mp4: PyAV cannot read it"),
        ({}, ["TRAIN.MAX_STEP", "3"], "did you mean TRAIN.MAX_STEPS?"),
        ({}, ["--config", "nowhere.yaml"], "nowhere.yaml: no such config file"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, monkeypatch, files, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    for name, text in files.items():
        (tmp_path / "videos" / name).write_text(text)
    done = diffmae("demo", "--videos", "videos", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
