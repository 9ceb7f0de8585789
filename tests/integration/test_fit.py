"""tools/inpaint.py without a checkpoint: it fits a model to the film."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.film.small_films import moving_box, panning
from tests.integration.runs import environment
from tests.repository import ROOT


def write(folder, pictures):
    folder.mkdir()
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{i:05d}.png")


def read(folder):
    return np.stack([np.array(Image.open(path)) for path in sorted(folder.glob("*.png"))])


@pytest.fixture
def film(tmp_path):
    frames, hidden = panning(12, 80, 96, (0, 2)), moving_box(12, 80, 96)
    write(tmp_path / "film", frames)
    write(tmp_path / "mask", 255 * hidden.astype(np.uint8))
    return tmp_path, frames, hidden


def inpaint(folder, film, output, *options):
    """Runs the tool and returns its JSON line."""
    command = [sys.executable, ROOT / "tools/inpaint.py", "--input", folder / film, "--mask", folder / "mask"]
    command += ["--output", folder / output, "--steps", "2", *options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment())
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
    assert set(first["estimate"]["fills"]) >= {"first", "mean", "sample", "mean fill", "OpenCV Telea"}


@pytest.mark.slow
def test_a_fit_is_kept_used_again_and_goes_on(film):
    folder, _, _ = film
    inpaint(folder, "film", "out", "--fit", "3steps", "--fill", "first")
    log = folder / "out-fit/metrics.jsonl"
    weights = (folder / "out-fit/model.safetensors").read_bytes()
    steps = len(log.read_text().splitlines())
    inpaint(folder, "film", "out", "--fit", "3steps", "--fill", "sample", "--seed", "1")
    assert (folder / "out-fit/model.safetensors").read_bytes() == weights
    inpaint(folder, "film", "out", "--fit", "5steps", "--fill", "first")
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [1, 2, 3, 4, 5]
    assert steps == 3
    assert (folder / "out-fit/model.safetensors").read_bytes() != weights
