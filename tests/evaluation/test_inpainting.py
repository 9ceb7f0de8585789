"""Metrics against numpy on hand-made pictures."""

import math

import numpy as np
import torch

from diffmae_video import Mask
from diffmae_video.evaluation.inpainting import (
    evaluate_inpainting,
    gradient_ratio,
    mean_fill,
    motion_ratio,
    nearest_fill,
    psnr,
    std_ratio,
)
from tests.conftest import tiny_diffmae

PATCH, GRID = (2, 4, 4), (2, 3, 3)


def example(batch=2):
    truth = torch.rand(batch, 3, 4, 12, 12)
    mask = Mask.random(batch, GRID, 0.6, torch.Generator().manual_seed(1))
    return truth, mask, mask.to_pixels(PATCH)


def test_psnr_is_numpys_over_masked_pixels():
    truth, _, masked = example()
    fill = torch.rand_like(truth)
    for i in range(2):
        hidden = masked[i].expand(3, -1, -1, -1).numpy()
        error = np.mean((fill[i].numpy()[hidden] - truth[i].numpy()[hidden]) ** 2)
        assert math.isclose(psnr(fill, truth, masked)[i], -10 * np.log10(error), rel_tol=1e-5)
    # Visible pixels do not count.
    assert torch.equal(psnr(torch.where(masked, fill, 0), truth, masked), psnr(fill, truth, masked))


def test_mean_fill_uses_visible_pixels_only():
    truth, _, masked = example()
    filled = mean_fill(truth, masked)
    visible = ~masked[0].expand(3, -1, -1, -1)
    for channel in range(3):
        expected = truth[0, channel][visible[channel]].mean()
        torch.testing.assert_close(
            filled[0, channel][~visible[channel]], expected.expand((~visible[channel]).sum())
        )
    assert torch.equal(filled[0][visible], truth[0][visible])


def test_nearest_fill_is_a_slow_loop():
    truth, mask, _ = example()
    filled = nearest_fill(truth, mask, PATCH)

    def piece(clip, token):
        t, y, x = token // 9, token // 3 % 3, token % 3
        return clip[:, 2 * t : 2 * t + 2, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4]

    def distance(a, b):
        return sum(
            (p - q) ** 2
            for p, q in zip((a // 9, a // 3 % 3, a % 3), (b // 9, b // 3 % 3, b % 3), strict=True)
        )

    for i in range(2):
        visible = mask.visible[i].tolist()
        for token in range(18):
            nearest = (
                token
                if token in visible
                else min(visible, key=lambda v, token=token: (distance(token, v), v))
            )
            assert torch.equal(piece(filled[i], token), piece(truth[i], nearest))


def test_ratios_are_1_for_the_truth_and_scale_with_contrast():
    truth, _, masked = example()
    for ratio, power in ((std_ratio, 1), (motion_ratio, 1), (gradient_ratio, 2)):
        assert math.isclose(ratio(truth, truth, masked), 1.0, rel_tol=1e-5)
        assert math.isclose(ratio(0.5 * truth + 0.2, truth, masked), 0.5**power, rel_tol=1e-4)
    hidden = masked[0].expand(3, -1, -1, -1)
    one = truth[:1]
    expected = np.sqrt(np.mean([one[0, c][hidden[c]].numpy().var() for c in range(3)]))
    doubled = std_ratio(one, torch.where(masked[:1], one * 2, one), masked[:1])
    assert math.isclose(doubled, 0.5, rel_tol=1e-4)
    assert expected > 0


def test_evaluate_reads_back_what_inpaint_did():
    model = tiny_diffmae()
    clips = torch.randint(0, 256, (2, 4, 32, 32, 3), dtype=torch.uint8)
    mask = Mask.random(2, (2, 4, 4), 0.75, torch.Generator().manual_seed(0))
    metrics, results = evaluate_inpainting(model, clips, mask, steps=(1, 3))
    assert set(results) == {1, 3}
    truth = clips.movedim(-1, 1) / 255
    fill = results[3].clip * torch.tensor(model.std).view(3, 1, 1, 1) + torch.tensor(model.mean).view(
        3, 1, 1, 1
    )
    masked = mask.to_pixels(model.patch)
    assert math.isclose(metrics["sample_psnr"], psnr(fill.clamp(0, 1), truth, masked).mean(), rel_tol=1e-5)
    assert metrics["mean_fill_psnr"] > metrics["sample_psnr"]  # an untrained model
