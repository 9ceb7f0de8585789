"""tools/evaluate_inpainting.py as users start it, and its figures against numpy's."""

import csv
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from diffmae_video import InputError, Mask, load_config, load_model
from diffmae_video.data import Entry, normalise, uniform_clips
from diffmae_video.inpainting.evaluate import TASKS, evaluate_inpainting
from diffmae_video.models import MAE, Encoder
from tests.integration.runs import CONFIG, TINY, environment
from tests.repository import ROOT
from tests.tiny_models import tiny_diffmae

RATIOS = {"random75": 0.75, "random90": 29 / 32, "tube": 0.75, "center": 0.25, "future": 0.5}


@pytest.fixture(scope="module")
def run(tmp_path_factory, clips_dir):
    """A run's folder of 4 frames of 32 x 32, an MAE, a model for features, and a list with a bad file."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "broken.mp4").write_text("no video")
    (folder / "val.csv").write_text(f"path\n{clips_dir / 'bikes.mp4'}\nbroken.mp4\n")
    options = [*TINY, "DATA.VAL", folder / "val.csv", "EVALUATION.BATCH_SIZE", 16]
    (folder / "config.yaml").write_text(load_config(CONFIG, options).dump())
    tiny_diffmae(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25)).save_pretrained(folder)
    narrow = {"width": 32, "depth": 1, "heads": 2}
    MAE((32, 32), 4, (2, 8, 8), narrow, narrow).save_pretrained(folder / "mae")
    MAE((32, 32), 4, (2, 16, 16), narrow, narrow).save_pretrained(folder / "other")
    normalised = MAE((32, 32), 4, (2, 8, 8), narrow, narrow, normalize_target=True)
    normalised.save_pretrained(folder / "normalised")
    Encoder((32, 32), 4, (2, 8, 8), width=8, depth=1, heads=2).save_pretrained(folder / "features")
    return folder


def tool(*arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / "tools/evaluate_inpainting.py"), *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )


def evaluate(checkpoint, output, options=(), **changes):
    """The result with small defaults in place of the tool's."""
    arguments = {"mae": None, "steps": [1, 10, 50], "tasks": [], "clips": 64, "seed": 0}
    arguments |= {"lpips": False, "lpips_weights": None, "features": None}
    return evaluate_inpainting(checkpoint, output, options, **arguments | changes)[0]


def numpy_psnr(fill, truth, masked):
    hidden = masked.expand_as(fill).numpy()
    return np.mean(
        [
            -10 * np.log10(np.mean((fill[i].numpy() - truth[i].numpy())[hidden[i]] ** 2))
            for i in range(len(fill))
        ]
    )


def test_every_fill_of_every_task_is_measured(tmp_path, run, real_clips):
    done = tool(
        *("--checkpoint", run, "--mae", run / "mae", "--steps", "3,1", "--clips", 24, "--output", tmp_path),
        *("--fvd-features", run / "features"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [line for line in done.stderr.splitlines() if "broken.mp4" in line]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result == json.loads((tmp_path / "results.json").read_text())
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


def test_the_seed_alone_decides(tmp_path, run):
    def figures(seed, batch):
        options = ["EVALUATION.BATCH_SIZE", batch]
        tasks = ("random75", "future")
        return evaluate(run, tmp_path, options, steps=[2], tasks=tasks, clips=4, seed=seed)["rows"]

    first = figures(0, 4)
    assert figures(0, 4) == first
    assert figures(1, 4)[0]["psnr_masked"] != first[0]["psnr_masked"]
    in_parts = figures(0, 1)  # the same clips and masks
    for row, other in zip(first, in_parts, strict=True):
        if row["fill"] != "diffmae":
            assert {
                k: pytest.approx(v, rel=1e-4, abs=1e-4) for k, v in row.items() if k[-6:] == "masked"
            } == {k: v for k, v in other.items() if k[-6:] == "masked"}


def test_images_have_no_figures_of_time(tmp_path):
    for i in range(3):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (40, 40, 3), np.uint8)).save(
            tmp_path / f"{i}.png"
        )
    options = [*TINY, "DATA.NUM_FRAMES", 1, "MODEL.PATCH", "1,8,8"]
    (tmp_path / "config.yaml").write_text(load_config(CONFIG, options).dump())
    tiny_diffmae(frames=1, patch=(1, 8, 8)).save_pretrained(tmp_path)
    result = evaluate(tmp_path, tmp_path, ["DATA.VAL", tmp_path], steps=[2], clips=64)
    assert result["clips"] == 3  # one of each picture
    assert {row["task"] for row in result["rows"]} == set(TASKS) - {"future"}
    assert {row["fill"] for row in result["rows"]} == {"mean", "nearest", "diffmae"}
    assert not any("flicker" in name for name in result["rows"][0])
    with pytest.raises(InputError, match="task future is impossible on a grid of"):
        evaluate(tmp_path, tmp_path, ["DATA.VAL", tmp_path], tasks=["future"])


@pytest.mark.parametrize(
    ("options", "more", "message"),
    [
        (["DATA.VAL", ""], {}, r"DATA\.VAL: give a list"),
        ([], {"tasks": ["hole"]}, "unknown task 'hole'; choose from random75, "),
        ([], {"steps": [1, 1001]}, "steps must be from 1 to T = 1000, got 1001"),
        ([], {"clips": 0}, "--clips must be at least 1"),
        ([], {"seed": -1}, "--seed at least 0"),
        ([], {"features": "features", "clips": 8}, r"8 clips are too few .* 8 features: use at least 9"),
        ([], {"mae": "features"}, "features: holds a Encoder, which does not inpaint"),
        ([], {"mae": "other"}, r"other: takes clips of \[4, 32, 32\] in patches of \[2, 16, 16\], but"),
        ([], {"mae": "normalised"}, "normalised: .* patches normalised one by one"),
        ([], {"lpips_weights": "none.pth"}, r"none\.pth: no such file"),
    ],
)
def test_mistakes_are_told_before_it_starts(tmp_path, run, options, more, message):
    paths = {name: run / more[name] for name in ("features", "mae", "lpips_weights") if name in more}
    with pytest.raises(InputError, match=message):
        evaluate(run, tmp_path / "none", options, **{**more, **paths})
    assert not (tmp_path / "none").exists()


def test_a_mistake_is_one_line(run):
    done = tool("--checkpoint", run, "--steps", "1,ten")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --steps takes whole numbers, say 1,10,50, got '1,ten'\n"
