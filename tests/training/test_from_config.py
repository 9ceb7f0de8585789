"""From a config to the plan of a run."""

import pytest

from diffmae_video import InputError, load_config
from diffmae_video.data import Entry
from diffmae_video.training.from_config import loop_options, plan_of


@pytest.mark.parametrize(("counted", "lr"), [(True, 1.5e-4 * 96 / 256), (False, 1.5e-4 * 24 / 256)])
def test_a_plan_counts_accumulation_and_repeats_as_the_recipe_does(tmp_path, counted, lr):
    (tmp_path / "a.yaml").write_text("TRAIN: {BATCH_SIZE: 4, ACCUMULATION: 3, EPOCHS: 10, WARMUP_EPOCHS: 1}")
    cfg = load_config(tmp_path / "a.yaml", ["TRAIN.COUNT_REPEATS", str(counted), "DATA.REPEATS", 4])
    plan = plan_of(cfg, [Entry("a.mp4")] * 240, world=2)
    assert (plan.steps, plan.warmup, plan.videos, plan.clips) == (100, 10, 24, 96)
    assert plan.lr == pytest.approx(lr)
    with pytest.raises(InputError, match="no step"):
        plan_of(cfg, [Entry("a.mp4")], world=2)
    assert "100 steps of 24 videos = 96 clips" in str(plan)
    pictures = str(plan_of(cfg, [Entry("a.jpg")] * 240, world=2))
    assert "100 steps of 24 pictures = 96 clips" in pictures
    assert "videos" not in pictures


def test_a_plan_counts_in_words(tmp_path):
    cfg = load_config(None, ["TRAIN.BATCH_SIZE", 1, "TRAIN.ACCUMULATION", 1, "TRAIN.MAX_STEPS", 1])
    for repeats, clips in ((1, "1 clip"), (4, "4 clips")):
        cfg.defrost()
        cfg.DATA.REPEATS = repeats
        plan = str(plan_of(cfg, [Entry("a.mp4")] * 3, world=1))
        assert plan.startswith(f"1 step of 1 video = {clips}, learning rate")
        assert " x 1 video / 256 (by clips" in plan
    assert str(plan_of(cfg, [Entry("a.mp4")] * 3, world=16)).startswith("1 step of 16 draws from 3 videos")


@pytest.mark.parametrize(
    ("steps", "minutes", "expected"),
    [
        (1000, 30, "every 1000 steps, every 30 minutes, after the last step"),
        (0, 1, "every minute, after the last step"),
        (1, 0, "every step, after the last step"),
        (0, 0, "after the last step"),
    ],
)
def test_a_run_says_when_it_saves(steps, minutes, expected):
    cfg = load_config(None, ["CHECKPOINT.EVERY_STEPS", steps, "CHECKPOINT.EVERY_MINUTES", minutes])
    assert loop_options(cfg).saves == expected
