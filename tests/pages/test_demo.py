"""The demo's table, plot and panels."""

import numpy as np
from PIL import Image

from diffmae_video.pages.demo import ROWS, example_panels, plot_losses, results_table
from tests.pages.test_gallery import example

FIGURES = {key: 10 + i for i, (_, key) in enumerate(ROWS)}
METRICS = {
    **FIGURES,
    "parts": {"same videos, later": FIGURES, "unseen video": {**FIGURES, "interpolation_psnr": 1.234}},
    "clips_seen": 100,
    "mae_clips_seen": 200,
    "train_seconds": 3.4,
    "mae_train_seconds": 5.6,
    "peak_rss_mb": 789,
}


def test_the_table_is_aligned_and_has_every_simple_fill():
    lines = results_table(METRICS).splitlines()
    table = lines[: 1 + len(ROWS)]
    assert len({len(line) for line in table}) == 1
    assert lines[0].split("  ")[-1] == "unseen video"
    (interpolation,) = [line for line in table if line.startswith("linear interpolation in time (PSNR)")]
    assert interpolation.split()[-3:] == ["12.00", "12.00", "1.23"]
    assert sum("mean of the visible" in line or "nearest visible" in line for line in table) == 2
    assert lines[-3:] == [
        "DiffMAE: trained on 100 clips in 3 s",
        "MAE: trained on 200 clips in 6 s",
        "peak memory 789 MB",
    ]


def test_panels_go_from_the_truth_to_the_sample():
    shown = example(frames=4, side=32)
    clips, titles = example_panels(shown)
    assert titles == [
        *("truth", "masked + noise", "x0 at t = 1000", "x0 at t = 730", "x0 at t = 460"),
        *("sample, 10 steps", "MAE"),
    ]
    assert all(clip.shape == (3, 4, 32, 32) for clip in clips)
    masked = clips[1].movedim(0, -1).numpy()
    assert np.array_equal(masked[~shown.masked], shown.truth[~shown.masked].astype(np.float32) / 255)
    assert masked[shown.masked].std() > 0.2
    assert len(example_panels(example(frames=4, side=32, with_mae=False))[1]) == 6


def test_the_plot_of_the_loss_is_a_picture(tmp_path):
    plot_losses(tmp_path / "loss.png", [1.0, 0.5, 0.25])
    assert Image.open(tmp_path / "loss.png").size == (960, 540)
