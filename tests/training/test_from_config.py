"""From a config to the plan of a run."""

import pytest

from diffmae_video import InputError, load_config
from diffmae_video.data import Entry
from diffmae_video.training.from_config import plan_of


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
