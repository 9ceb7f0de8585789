"""The comparison of samplers: what it reports, and which models it takes."""

import pytest
import torch

from diffmae_video import InputError
from diffmae_video.benchmarks.sampling import compare_samplers, sample_speed
from tests.repository import ROOT
from tests.tiny_models import tiny_diffmae


def test_samplers_are_compared_on_the_same_task():
    clips = torch.randint(0, 256, (2, 4, 32, 32, 3), dtype=torch.uint8)
    figures = compare_samplers(tiny_diffmae(), clips, 0.75, 0.5, samplers=(("ddim", 4), ("ddim", 2)))
    slow, fast = figures["ddim-4"], figures["ddim-2"]
    assert figures["clips"] == 2
    assert slow["seconds_per_output_second"] == pytest.approx(2 * slow["seconds_per_clip"], abs=2e-4)
    assert slow["psnr"] != fast["psnr"]
    assert figures["faster"]["name"] == "ddim-2 instead of ddim-4"
    assert figures["faster"]["psnr_difference"] == pytest.approx(fast["psnr"] - slow["psnr"], abs=0.011)


def test_a_classifier_has_nothing_to_sample(tmp_path):
    folder = ROOT / "tests/fixtures/old_runs/classifier/best"
    with pytest.raises(InputError, match="sampling is measured on a pre-trained model"):
        sample_speed(folder, [], tmp_path / "list.csv", "auto")
