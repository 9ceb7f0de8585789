"""Metrics against numpy on hand-made pictures."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffmae_video import Mask
from diffmae_video.inpainting.metrics import (
    flicker,
    gradient_energy,
    gradient_ratio,
    masked_patches,
    motion_ratio,
    psnr,
    radial_spectrum,
    region_mean,
    spectrum_distance,
    ssim_map,
    std_ratio,
)

PATCH, GRID = (2, 4, 4), (2, 3, 3)


def example(batch=2):
    truth = torch.rand(batch, 3, 4, 12, 12)
    mask = Mask.random(batch, GRID, 0.6, torch.Generator().manual_seed(1))
    return truth, mask, mask.to_pixels(PATCH)


def test_psnr_agrees_with_numpy_over_masked_pixels():
    truth, _, masked = example()
    fill = torch.rand_like(truth)
    for i in range(2):
        hidden = masked[i].expand(3, -1, -1, -1).numpy()
        error = np.mean((fill[i].numpy()[hidden] - truth[i].numpy()[hidden]) ** 2)
        assert math.isclose(psnr(fill, truth, masked)[i], -10 * np.log10(error), rel_tol=1e-5)
    # Visible pixels do not count.
    assert torch.equal(psnr(torch.where(masked, fill, 0), truth, masked), psnr(fill, truth, masked))


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


def slow_ssim(one, other):
    """Wang et al.'s formula at each pixel of [H, W] pictures, mirrored at the edges."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    a, b = (np.pad(x.astype(np.float64), 5, mode="reflect") for x in (one, other))
    found = np.empty(one.shape)
    for y, x in np.ndindex(one.shape):
        p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
        mean_p, mean_q = (window * p).sum(), (window * q).sum()
        cov = (window * (p - mean_p) * (q - mean_q)).sum()
        var_p, var_q = (window * (p - mean_p) ** 2).sum(), (window * (q - mean_q) ** 2).sum()
        c1, c2 = 0.01**2, 0.03**2
        luminance = (2 * mean_p * mean_q + c1) / (mean_p**2 + mean_q**2 + c1)
        found[y, x] = luminance * (2 * cov + c2) / (var_p + var_q + c2)
    return found


def test_ssim_agrees_with_a_slow_loop_and_is_averaged_over_the_region():
    truth, _, masked = example()
    fill = (truth + 0.3 * torch.rand_like(truth)).clamp(0, 1)
    values = ssim_map(fill, truth)
    assert values.shape == masked.shape
    for i, t in ((0, 1), (1, 3)):
        pairs = zip(fill[i, :, t].numpy(), truth[i, :, t].numpy(), strict=True)
        expected = np.mean([slow_ssim(one, other) for one, other in pairs], axis=0)
        np.testing.assert_allclose(values[i, 0, t], expected, atol=1e-4)
    expected = [values[i][masked[i]].mean() for i in range(2)]
    torch.testing.assert_close(region_mean(values, masked), torch.stack(expected))
    torch.testing.assert_close(ssim_map(truth, truth), torch.ones_like(values))


def test_flicker_counts_the_steps_of_a_ramp_inside_the_region():
    masked = torch.zeros(2, 1, 5, 4, 4, dtype=torch.bool)
    masked[0, 0, 1:4, 0, :2] = True  # two places, two pairs of frames each
    masked[1, 0, ::2] = True  # never two frames in a row
    ramp = 0.1 * torch.arange(5.0).view(1, 1, 5, 1, 1).expand(2, 3, 5, 4, 4)
    torch.testing.assert_close(flicker(ramp, masked), torch.tensor([3 * 2 * 2 * 0.1, 0]))
    swinging = torch.tensor([0, 1, 0, 1, 0.0]).view(1, 1, 5, 1, 1).expand_as(ramp)
    everywhere = torch.ones_like(masked)
    assert flicker(swinging, everywhere).tolist() == [3 * 4 * 16] * 2


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_scores_of_masked_pixels_ignore_visible_ones(seed):
    state = torch.Generator().manual_seed(seed)
    truth, fill, other = (torch.rand(2, 3, 4, 12, 12, generator=state) for _ in range(3))
    mask = Mask.random(2, GRID, 0.6, state)
    masked = mask.to_pixels(PATCH)
    figures = (
        lambda x: psnr(x, truth, masked),
        lambda x: flicker(x, masked),
        lambda x: gradient_energy(x, masked),
        lambda x: radial_spectrum(masked_patches(x, mask, PATCH)),
    )
    for figure in figures:
        assert torch.equal(figure(torch.where(masked, fill, other)), figure(fill))
        assert not torch.allclose(figure(torch.where(masked, other, fill)), figure(fill))


def test_masked_patches_are_cut_out_of_the_clip():
    truth, mask, _ = example()
    found = masked_patches(truth, mask, PATCH).view(2, mask.masked.shape[1], 2, 3, 4, 4)
    token = int(mask.masked[1, 2])
    t, y, x = token // 9, token // 3 % 3, token % 3
    piece = truth[1, :, 2 * t : 2 * t + 2, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4]
    assert torch.equal(found[1, 2], piece.transpose(0, 1))


@pytest.mark.parametrize("shape", [(16, 16), (16, 32)])
def test_spectrum_of_noise_is_flat_and_that_of_a_wave_has_its_peak(shape):
    noise = 0.3 * torch.randn(1500, *shape)
    power = radial_spectrum(noise).mean(0)
    assert power.shape == (8,)
    torch.testing.assert_close(power[1:], torch.full((7,), 0.09), rtol=0.03, atol=0)
    along = torch.arange(16) / 16
    for periods in (2, 5):
        wave = (2 * math.pi * periods * along).cos()[:, None].expand(*shape) + 4
        assert int(radial_spectrum(wave[None])[0].argmax()) == periods - 1
    assert radial_spectrum(torch.full((1, *shape), 0.7)).max() < 1e-10


def test_spectrum_distance_is_in_decibels():
    power = torch.tensor([1.0, 2.0, 3.0])
    assert spectrum_distance(power, power) == 0
    assert spectrum_distance(power * torch.tensor([10, 0.1, 1]), power) == pytest.approx(20 / 3, rel=1e-3)
    assert spectrum_distance(torch.zeros(3), power) == pytest.approx(
        np.mean(10 * np.log10(power.numpy() * 12 * 255**2)), rel=1e-4
    )
