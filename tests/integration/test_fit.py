"""diffmae inpaint without a checkpoint: it fits a model to the film."""

import json
import os
import re
import signal

import numpy as np
import pytest
from PIL import Image

import diffmae_video
from diffmae_video.film.timed_plan import TimedPlan
from diffmae_video.runtime.stops import STOPPED
from tests.calls import diffmae
from tests.film.small_films import SMALL_FIT, moving_box, panning


def write(folder, pictures):
    folder.mkdir()
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{i:05d}.png")


def read(folder):
    return np.stack([np.array(Image.open(path)) for path in sorted(folder.glob("*.png"))])


@pytest.fixture
def film(tmp_path):
    frames, hidden = panning(8, 64, 80, (0, 2)), moving_box(8, 64, 80)
    write(tmp_path / "film", frames)
    write(tmp_path / "mask", 255 * hidden.astype(np.uint8))
    (tmp_path / "recipe.yaml").write_text(SMALL_FIT)
    return tmp_path, frames, hidden


def run(folder, film, output, *options):
    files = ("--input", folder / film, "--mask", folder / "mask", "--output", folder / output)
    return diffmae("inpaint", *files, "--recipe", folder / "recipe.yaml", "--steps", 2, *options)


def inpaint(*arguments):
    """Runs the command and returns its JSON line."""
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_what_the_hole_hides_is_never_read(film):
    folder, frames, hidden = film
    noise = np.random.default_rng(0).integers(0, 256, frames.shape).astype(np.uint8)
    write(folder / "noise", np.where(hidden[..., None], noise, frames))
    first = inpaint(folder, "film", "one", "--fit", "4steps", "--fill", "sample")
    second = inpaint(folder, "noise", "two", "--fit", "4steps", "--fill", "sample")
    one, two = read(folder / "one"), read(folder / "two")
    assert (one == two).all()
    assert (one[~hidden] == frames[~hidden]).all()
    assert (one[hidden] != frames[hidden]).any()
    assert first["estimate"] == second["estimate"]
    assert first["estimate"]["places"] > 0
    assert set(first["estimate"]["fills"]) >= {"base", "first", "mean", "sample", "mean fill", "OpenCV Telea"}


@pytest.mark.slow
def test_a_fit_is_kept_used_again_and_goes_on(film, monkeypatch):
    folder, _, _ = film
    rate = TimedPlan.rate

    def stop_in_the_second_step(plan, step):
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return rate(plan, step)

    with monkeypatch.context() as patch:
        patch.setattr(TimedPlan, "rate", stop_in_the_second_step)
        stopped = run(folder, "film", "out", "--fit", "3steps", "--fill", "first")
    assert stopped.returncode == STOPPED
    plan = (
        "fills 8 frames along the optical flow, and 3 rehearsals, then learns for 3 steps, then measures the "
    )
    assert stopped.stderr.startswith(plan)
    assert stopped.stderr.endswith("stopped by a signal; step 2 is saved, start it again to continue\n")
    resumed = run(folder, "film", "out", "--fit", "3steps", "--fill", "first")
    assert resumed.returncode == 0, resumed.stderr
    assert re.search(r"learns for 3 steps \(\d+ s are over\), then measures", resumed.stderr)
    log = folder / "out-fit/metrics.jsonl"
    weights = (folder / "out-fit/model.safetensors").read_bytes()
    steps = len(log.read_text().splitlines())
    again = run(folder, "film", "out", "--fit", "3steps", "--fill", "sample", "--seed", "1")
    assert "fills 8 frames along the optical flow and by the fitted model, and measures both;" in again.stderr
    assert (folder / "out-fit/model.safetensors").read_bytes() == weights
    small = {"recipe": str(folder / "recipe.yaml"), "steps": 2}
    in_python = diffmae_video.inpaint(
        folder / "film", folder / "mask", folder / "out", fit="5steps", fill="first", **small
    )
    assert in_python == json.loads((folder / "out.json").read_text())
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [1, 2, 3, 4, 5]
    assert steps == 3
    assert (folder / "out-fit/model.safetensors").read_bytes() != weights


def test_without_learning_there_is_the_base_fill(film):
    folder, frames, hidden = film
    done = run(folder, "film", "out", "--fit", "0")
    assert done.stderr.startswith(
        "fills 8 frames along the optical flow and measures the fill, without learning;"
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["fill"] == "base"
    assert set(result["estimate"]["fills"]) == {
        *("base", "mean fill", "OpenCV Telea", "OpenCV Navier-Stokes")
    }
    filled = read(folder / "out").astype(float)
    assert (filled[~hidden] == frames[~hidden]).all()
    mean = np.abs(frames[~hidden].mean(0) - frames[hidden]).mean()
    assert np.abs(filled - frames)[hidden].mean() < 0.3 * mean  # the pan shows elsewhere what is hidden
    assert not (folder / "out-fit").exists()
    refused = run(folder, "film", "other", "--fit", "0", "--fill", "sample")
    assert refused.returncode == 2
    assert "--fill sample: needs a model that learnt, and --fit 0 learns nothing" in refused.stderr
