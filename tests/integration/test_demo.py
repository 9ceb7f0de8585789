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
from diffmae_video.evaluation.inpainting import evaluate_inpainting
from tests.conftest import ROOT

SMALL = ["DATA.SIZE", "32", "DATA.NUM_FRAMES", "8", "TRAIN.MAX_STEPS", "40", "TRAIN.WARMUP_STEPS", "5"]


def demo(*arguments, cwd):
    command = [sys.executable, str(ROOT / "tools/demo.py"), *arguments]
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
    for name in [f"{w}_psnr" for w in wanted] + [
        "sample_std_ratio",
        "sample_motion_ratio",
        "sample_gradient_ratio",
    ]:
        assert np.isfinite(metrics[name])
        assert set(metrics["parts"]) == {"same videos, later", "unseen video"}
    assert metrics["train_seconds"] > 0
    assert metrics["clips_seen"] == 40 * 4
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
    assert len(list(output.glob("example-*.mp4"))) == 8
    assert "http" not in page.replace("https://", "http://").replace("http://www.w3.org", "")


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
    clips = uniform_clips(Entry(str(real_clips["carphone_pristine"])), 8, 8, 1, (32, 32))
    mask = Mask.random(8, model.encoder.grid, 0.75, torch.Generator().manual_seed(9))
    metrics, _ = evaluate_inpainting(model, clips, mask)
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
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, files, arguments, message):
    (tmp_path / "videos").mkdir()
    for name, text in files.items():
        (tmp_path / "videos" / name).write_text(text)
    done = demo("--videos", "videos", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
