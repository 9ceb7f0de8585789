"""A comparison by fills, on made-up videos with tiny models."""

import json

import numpy as np
import pytest

from diffmae_video import InputError
from diffmae_video.encoding.clips import write_video
from diffmae_video.studies.fill_comparison import compare_fills
from tests.repository import ROOT

PLAN = "COMPARE: {TASK: fills, SYSTEMS: [tiny, mae], BUDGET: 16, UNIT: pictures, SEEDS: 2}\n"
TINY = f"""
_BASE_: {ROOT / "configs/demo/modern.yaml"}
MODEL: {{ENCODER: {{WIDTH: 64, DEPTH: 1}}, DECODER: {{WIDTH: 64, DEPTH: 1}}}}
DATA: {{SIZE: 32, NUM_FRAMES: 4, WORKERS: 0, BACKEND: pyav}}
TRAIN: {{MAX_STEPS: 8, WARMUP_STEPS: 2, PRECISION: fp32}}
"""


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "plan.yaml").write_text(PLAN)
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan/tiny.yaml").write_text(TINY)
    (tmp_path / "plan/mae.yaml").write_text("_BASE_: tiny.yaml\nMODEL: {OBJECTIVE: mae}\n")
    rng = np.random.default_rng(0)
    (tmp_path / "videos").mkdir()
    for name in ("a", "b"):
        frames = rng.integers(0, 256, (30, 6, 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
        write_video(tmp_path / f"videos/{name}.mp4", frames, 10)
    return tmp_path / "plan.yaml"


def in_this_process(jobs, at_once, title, after_each):
    for done, job in enumerate(jobs, 1):
        job.folder.mkdir(parents=True, exist_ok=True)
        job.run(*job.arguments, job.folder, resume=True)
        after_each()
        result = json.loads((job.folder.parents[2] / "result.json").read_text())
        assert len(result["runs"]) == done


@pytest.mark.slow
def test_each_system_is_trained_at_the_budget_and_scored_on_each_task_and_part(plan, tmp_path, monkeypatch):
    study = "diffmae_video.studies.fill_comparison"
    monkeypatch.setattr(f"{study}.run_jobs", in_this_process)
    monkeypatch.setattr(f"{study}.CLIPS_PER_PART", 2)
    monkeypatch.setattr(f"{study}.STEPS", 3)
    result = compare_fills(plan, [], tmp_path / "videos", tmp_path / "out", 1)
    assert [(run["system"], run["seed"]) for run in result["runs"]] == [
        ("tiny", 0), ("mae", 0), ("tiny", 1), ("mae", 1),
    ]  # fmt: skip
    assert {system: cost["steps"] for system, cost in result["costs"].items()} == {"tiny": 4, "mae": 4}
    for run in result["runs"]:
        for task in ("random", "tube", "center"):
            parts = run["scores"][task]
            assert set(parts) == {"same videos, later", "unseen video"}
            assert all(np.isfinite(x) for scores in parts.values() for x in scores.values())
    first, second = (
        run["scores"]["center"]["unseen video"] for run in result["runs"] if run["system"] == "tiny"
    )
    assert first["mean_fill_psnr"] == second["mean_fill_psnr"]  # the same clips and masks
    assert first["sample_psnr"] != second["sample_psnr"]  # another model
    mae = result["runs"][1]["scores"]["random"]["unseen video"]
    assert mae["first_prediction_psnr"] == mae["sample_psnr"]  # one step
    assert json.loads((tmp_path / "out/result.json").read_text()) == result
    table = (tmp_path / "out/table.md").read_text()
    mean = (first["sample_psnr"] + second["sample_psnr"]) / 2
    assert f" / {mean:.2f} |" in table


def test_an_unknown_system_is_named(plan, tmp_path):
    with pytest.raises(InputError, match="name some of mae, tiny"):
        compare_fills(plan, ["COMPARE.SYSTEMS", "other"], tmp_path / "videos", tmp_path / "out", 1)
