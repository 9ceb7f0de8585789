"""Scores gathered over batches against those of all clips at once."""

import math

import pytest
import torch
from torch import nn

from diffmae_video import Mask
from diffmae_video.inpainting.clip_scores import ClipScores
from diffmae_video.inpainting.metrics import gradient_ratio, psnr

PATCH = (2, 4, 4)


class Apart(nn.Module):
    """In place of LPIPS: the mean difference of the channels."""

    def forward(self, one, other, normalize):
        assert normalize
        return (one - other).abs().mean(1, keepdim=True)


def gather(fill, truth, mask, *parts):
    figures = ClipScores(PATCH, Apart(), None)
    for part in parts:
        figures.add(fill[part], truth[part], Mask(mask.visible[part], mask.masked[part], mask.grid))
    return figures.result()


def test_batches_of_any_size_give_the_same_scores():
    truth, mask = torch.rand(5, 3, 4, 12, 12), Mask.random(5, (2, 3, 3), 0.6)
    masked = mask.to_pixels(PATCH)
    fill = torch.where(masked, torch.rand_like(truth) ** 2, truth)
    found = gather(fill, truth, mask, slice(0, 2), slice(2, 5))
    whole = gather(fill, truth, mask, slice(0, 5))
    assert found == {name: pytest.approx(value, rel=1e-5) for name, value in whole.items()}
    flat = torch.where(masked, 0.5, truth)  # its spectrum is what rounding adds
    in_parts = gather(flat, truth, mask, slice(0, 2), slice(2, 5))["spectrum_masked"]
    assert in_parts == pytest.approx(gather(flat, truth, mask, slice(0, 5))["spectrum_masked"], rel=1e-5)

    names = ("psnr", "ssim", "lpips", "flicker", "gradient", "spectrum")
    assert set(found) == {f"{name}_{region}" for name in names for region in ("masked", "whole")}

    assert found["psnr_masked"] == pytest.approx(float(psnr(fill, truth, masked).mean()), rel=1e-5)
    assert found["gradient_masked"] == pytest.approx(gradient_ratio(fill, truth, masked), rel=1e-5)
    apart = (fill - truth).abs()
    assert found["lpips_whole"] == pytest.approx(float(apart.mean()), rel=1e-5)
    assert found["lpips_masked"] == pytest.approx(float(apart[masked.expand_as(apart)].mean()), rel=1e-5)
    change = [clip.diff(dim=2).abs().mean() for clip in (fill, truth)]
    assert found["flicker_whole"] == pytest.approx(float(change[0] / change[1]), rel=1e-5)
    shares = 10 * math.log10(len(mask.visible[0]) / mask.masked.shape[1] + 1)
    assert found["psnr_whole"] - found["psnr_masked"] == pytest.approx(shares, rel=1e-4)


def test_the_truth_is_perfect_and_undefined_scores_are_none():
    truth, mask = torch.rand(2, 3, 1, 12, 12).expand(-1, -1, 4, -1, -1), Mask.center(2, (2, 3, 3))
    found = gather(truth, truth, mask, slice(None))
    assert found["psnr_masked"] == pytest.approx(100)
    assert found["ssim_masked"] == pytest.approx(1)
    assert found["gradient_whole"] == 1
    assert found["spectrum_masked"] == found["lpips_whole"] == 0
    assert found["flicker_masked"] is None  # nothing moves in the truth
