"""The evaluation of inpainting, called in Python."""

import numpy as np
import pytest
from PIL import Image

from diffmae_video import InputError, load_config
from diffmae_video.inpainting.evaluate_inpainting import evaluate_inpainting
from diffmae_video.inpainting.tasks import TASKS
from tests.inpainting.evaluation_run import make_run
from tests.integration.runs import CONFIG, TINY
from tests.tiny_models import tiny_diffmae


@pytest.fixture(scope="module")
def run(tmp_path_factory, real_clips):
    return make_run(tmp_path_factory.mktemp("run"), real_clips["bikes"])


def evaluate(checkpoint, output, options=(), **changes):
    """The result, with the tool's defaults."""
    arguments = {"mae": None, "steps": [1, 10, 50], "tasks": [], "clips": 64, "seed": 0}
    arguments |= {"mean_samples": 0, "lpips": False, "lpips_weights": None}
    arguments |= {"features": None, "precision": "fp32"}
    return evaluate_inpainting(checkpoint, output, options, **arguments | changes)[0]


def test_the_result_depends_on_the_seed_only(tmp_path, run):
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


def test_means_of_samples_are_scored_beside_them(tmp_path, run):
    result = evaluate(run, tmp_path, steps=[1, 2, 3], mean_samples=6, tasks=["random75"], clips=4)
    rows = {(row["fill"], row["steps"]): row for row in result["rows"]}
    assert [key for key in rows if key[0] == "posterior_mean"] == [("posterior_mean", n) for n in (2, 3)]
    for n in (2, 3):  # the noise of an untrained model averages out
        assert rows["posterior_mean", n]["psnr_masked"] > rows["diffmae", n]["psnr_masked"]
    assert "| mean of DiffMAE's samples, 3 steps |" in (tmp_path / "results.md").read_text()


def test_images_have_no_scores_about_time(tmp_path):
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


def test_lists_may_name_folders_of_frames(tmp_path, run):
    (tmp_path / "film").mkdir()
    for i in range(8):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "film" / f"{i}.png")
    (tmp_path / "val.csv").write_text("path\nfilm\n")
    options = ["DATA.VAL", tmp_path / "val.csv"]
    result = evaluate(run, tmp_path / "report", options, steps=[1], tasks=["center"], clips=2)
    assert result["clips"] == 2
    assert result["rows"][2]["fill"] == "interpolation"


@pytest.mark.parametrize(
    ("options", "more", "message"),
    [
        (["DATA.VAL", ""], {}, r"DATA\.VAL: give a list"),
        ([], {"tasks": ["hole"]}, "unknown task 'hole'; choose from random75, "),
        ([], {"steps": [1, 1001]}, "steps must be from 1 to T = 1000, got 1001"),
        ([], {"clips": 0}, "--clips must be at least 1"),
        ([], {"seed": -1}, "--seed at least 0"),
        ([], {"mean_samples": 1}, "--mean-samples must be 0 or at least 2, got 1"),
        ([], {"features": "features", "clips": 8}, r"8 clips are too few .* 8 features: use at least 9"),
        ([], {"mae": "features"}, "features: holds the model Encoder, which does not inpaint"),
        ([], {"mae": "other"}, r"other: takes clips of \[4, 32, 32\] in patches of \[2, 16, 16\], but"),
        ([], {"mae": "normalised"}, "normalised: .* patches normalised one by one"),
        ([], {"lpips_weights": "none.pth"}, r"none\.pth: no such file"),
    ],
)
def test_mistakes_are_found_before_the_work(tmp_path, run, options, more, message):
    paths = {name: run / more[name] for name in ("features", "mae", "lpips_weights") if name in more}
    with pytest.raises(InputError, match=message):
        evaluate(run, tmp_path / "none", options, **{**more, **paths})
    assert not (tmp_path / "none").exists()
