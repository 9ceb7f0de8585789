"""Tables and plot of an evaluation's result."""

import csv
import json

from PIL import Image

from diffmae_video.inpainting.fill_report import format_tables, write_report


def row(task, fill, steps, psnr, flicker=1.5):
    scores = {"psnr": psnr, "ssim": 0.5, "flicker": flicker, "gradient": 0.8, "spectrum": 3.0}
    return {
        "task": task,
        "fill": fill,
        "steps": steps,
        **{f"{name}_{where}": value for name, value in scores.items() for where in ("masked", "whole")},
    }


RESULT = {
    "clips": 4,
    "size": [4, 32, 32],
    "seed": 0,
    "rows": [
        row("center", "mean", None, 12.0, flicker=None),
        row("center", "interpolation", None, 13.0),
        row("center", "diffmae", 1, 14.25),
        row("center", "diffmae", 10, 15.0),
        row("future", "mean", None, 11.0),
    ],
}


def test_each_task_has_a_table_with_a_line_for_each_fill():
    text = format_tables(RESULT)
    centre, future = text.split("### centre")[1].split("### future frames")
    lines = [line for line in centre.splitlines() if line.startswith("|")]
    assert lines[0] == "| fill | PSNR, dB | SSIM | flicker | gradient energy | spectrum, dB |"
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| mean of the visible pixels",
        "| linear in time",
        "| DiffMAE, 1 step",
        "| DiffMAE, 10 steps",
    ]
    assert "| – / – |" in lines[2]  # undefined
    assert "| 14.25 / 14.25 |" in lines[4]
    assert future.count("\n| ") == 2
    assert "LPIPS |" not in text


def test_a_report_is_four_files(tmp_path):
    text = write_report(RESULT, tmp_path)
    assert (tmp_path / "results.md").read_text() == text
    assert json.loads((tmp_path / "results.json").read_text()) == RESULT
    table = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert [line["steps"] for line in table] == ["", "", "1", "10", ""]
    with Image.open(tmp_path / "results.png") as picture:
        assert picture.width > 500
