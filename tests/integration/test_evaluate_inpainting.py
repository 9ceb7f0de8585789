"""tools/evaluate_inpainting.py as users start it, with its scores against numpy."""

import csv
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from diffmae_video import Mask, load_model
from diffmae_video.cli import shortened
from diffmae_video.data import Entry, normalise, uniform_clips
from diffmae_video.inpainting.tasks import TASKS
from tests.calls import diffmae
from tests.inpainting.evaluation_run import make_run
from tests.integration.runs import environment
from tests.repository import ROOT

RATIOS = {"random75": 0.75, "random90": 29 / 32, "tube": 0.75, "center": 0.25, "future": 0.5}


@pytest.fixture(scope="module")
def run(tmp_path_factory, real_clips):
    return make_run(tmp_path_factory.mktemp("run"), real_clips["bikes"])


def evaluate_alone(*arguments):
    """The tool, in a process of its own."""
    return subprocess.run(
        [sys.executable, str(ROOT / "tools/evaluate_inpainting.py"), *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )


def evaluate(*arguments):
    return diffmae("evaluate-inpainting", *arguments)


def numpy_psnr(fill, truth, masked):
    hidden = masked.expand_as(fill).numpy()
    return np.mean(
        [
            -10 * np.log10(np.mean((fill[i].numpy() - truth[i].numpy())[hidden[i]] ** 2))
            for i in range(len(fill))
        ]
    )


def test_every_fill_of_every_task_is_scored(tmp_path, run, real_clips):
    done = evaluate_alone(
        *("--checkpoint", run, "--mae", run / "mae", "--steps", "3,1", "--clips", 24, "--output", tmp_path),
        *("--fvd-features", run / "features"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [line for line in done.stderr.splitlines() if "broken.mp4" in line]
    result = json.loads((tmp_path / "results.json").read_text())
    assert json.loads(done.stdout.splitlines()[-1]) == shortened(result)
    assert (result["clips"], result["size"], result["seed"]) == (12, [4, 32, 32], 0)
    rows = {(row["task"], row["fill"], row["steps"]): row for row in result["rows"]}
    fills = [("mean", None), ("nearest", None), ("interpolation", None), ("mae", None), ("diffmae", 1)]
    assert list(rows) == [(task, *fill) for task in TASKS for fill in [*fills, ("diffmae", 3)]]
    for (task, *_), row in rows.items():  # visible pixels are the truth's, in clips of one size
        assert row["psnr_whole"] - row["psnr_masked"] == pytest.approx(
            -10 * math.log10(RATIOS[task]), abs=1e-3
        )
        assert row["frechet"] > 0
    assert rows["center", "interpolation", None]["psnr_masked"] == rows["center", "mean", None]["psnr_masked"]
    assert rows["future", "interpolation", None]["flicker_masked"] == 0  # the last visible frame stands still

    clips = uniform_clips(Entry(str(real_clips["bikes"])), 12, 4, 1, (32, 32), "pyav")
    truth, mask, model = clips.movedim(-1, 1) / 255, Mask.center(12, (2, 4, 4)), load_model(run)
    filled = model.inpaint(normalise(clips, model.mean, model.std), mask, steps=3, seed=0).clip
    std, mean = (torch.tensor(x).view(3, 1, 1, 1) for x in (model.std, model.mean))
    sample, masked = (filled * std + mean).clamp(0, 1), mask.to_pixels(model.patch)
    row = rows["center", "diffmae", 3]
    assert row["psnr_masked"] == pytest.approx(numpy_psnr(sample, truth, masked), abs=1e-3)
    change = [np.abs(np.diff(x[:, :, :, 8:24, 8:24].numpy(), axis=2)).mean() for x in (sample, truth)]
    assert row["flicker_masked"] == pytest.approx(change[0] / change[1], rel=1e-4)

    table = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert [row["psnr_masked"] for row in table] == [str(row["psnr_masked"]) for row in result["rows"]]
    assert table[0]["steps"] == ""
    markdown = (tmp_path / "results.md").read_text()
    line = next(x for x in markdown[markdown.index("### centre") :].splitlines() if "3 steps" in x)
    assert line.startswith(f"| DiffMAE, 3 steps | {row['psnr_masked']:.2f} / {row['psnr_whole']:.2f} | ")
    assert line.endswith(f" | {row['frechet']:.3g} |")
    assert markdown in done.stdout
    with Image.open(tmp_path / "results.png") as picture:
        assert min(picture.size) > 500


def test_a_mistake_prints_one_line(run):
    done = evaluate("--checkpoint", run, "--steps", "1,ten")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --steps takes whole numbers, say 1,10,50, got '1,ten'\n"


def test_films_that_other_methods_filled_are_scored(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (3, 66, 70, 3), np.uint8)
    mask = np.zeros((66, 70), np.uint8)
    mask[10:30, 20:40] = 255
    for folder, pictures in (("films", frames), ("other", 255 - frames)):
        (tmp_path / folder / "noise").mkdir(parents=True)
        for i, picture in enumerate(pictures):
            Image.fromarray(picture).save(tmp_path / folder / "noise" / f"{i}.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks/noise.png")  # one picture for all frames
    done = evaluate(
        *("--protocol", "--films", tmp_path / "films", "--masks", tmp_path / "masks"),
        *("--fills", f"other={tmp_path / 'other'}", "--output", tmp_path / "scores"),
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "scores/protocol.json").read_text())
    assert json.loads(done.stdout.splitlines()[-1]) == shortened(result)
    row = next(row for row in result["rows"] if (row["group"], row["fill"]) == ("all", "other"))
    error = ((255 - 2 * frames.astype(float)) ** 2)[:, mask > 0].mean((1, 2))
    assert row["psnr_hole"] == pytest.approx(np.mean(10 * np.log10(255**2 / error)))
    assert "| all (1) | other | " in (tmp_path / "scores/protocol.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --checkpoint FOLDER, or --protocol"),
        (("--films", "x"), "--films belongs to --protocol"),
        (("--protocol", "--films", "x"), "--protocol needs --masks"),
        (("--protocol", "--checkpoint", "x"), "leave out --checkpoint"),
        (
            ("--protocol", "--films", "x", "--masks", "x", "--output", "x", "--fills", "x"),
            "--fills takes NAME=DIR",
        ),
        (
            ("--protocol", "--films", "x", "--masks", "x", "--output", "x", "--fills", "a=x", "--size", "9"),
            "--size takes width and height",
        ),
    ],
)
def test_options_that_do_not_go_together(arguments, message):
    done = evaluate(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
