"""PSNR and SSIM of whole frames against scikit-image, torchmetrics and a slow loop."""

import numpy as np
import pytest
import torch

from diffmae_video import InputError
from diffmae_video.inpainting.published_metrics import frame_psnr, frame_ssim


@pytest.fixture(params=[(65, 65), (70, 91)])
def pair(request):
    """A smooth picture and one with noise on a part of it."""
    state = np.random.default_rng(0)
    truth = np.kron(state.integers(0, 256, (12, 12, 3)), np.ones((8, 8, 1)))[
        : request.param[0], : request.param[1]
    ]
    fill = truth.copy()
    fill[20:50, 10:40] += state.normal(0, 40, (30, 30, 3))
    return fill.clip(0, 255).astype(np.uint8), truth.astype(np.uint8)


def test_ssim_agrees_with_scikit_image(pair):
    metrics = pytest.importorskip("skimage.metrics")
    expected = metrics.structural_similarity(*pair, win_size=65, channel_axis=-1, data_range=255)
    assert expected < 0.99
    assert frame_ssim(*pair) == pytest.approx(expected, abs=1e-9)


def test_ssim_agrees_with_a_slow_loop(pair):
    fill, truth = (frame.astype(float) for frame in pair)
    found = []
    for y, x, c in np.ndindex(fill.shape[0] - 64, fill.shape[1] - 64, 3):
        p, q = (frame[y : y + 65, x : x + 65, c] for frame in (fill, truth))
        (var_p, cov), (_, var_q) = np.cov(p.ravel(), q.ravel())
        c1, c2 = 6.5025, 58.5225
        luminance = (2 * p.mean() * q.mean() + c1) / (p.mean() ** 2 + q.mean() ** 2 + c1)
        found.append(luminance * (2 * cov + c2) / (var_p + var_q + c2))
    assert frame_ssim(*pair) == pytest.approx(np.mean(found), abs=1e-9)


def test_psnr_agrees_with_scikit_image_and_torchmetrics(pair):
    skimage = pytest.importorskip("skimage.metrics")
    torchmetrics = pytest.importorskip("torchmetrics.functional.image")
    found = frame_psnr(*pair)
    assert found == pytest.approx(skimage.peak_signal_noise_ratio(pair[1], pair[0]), abs=1e-9)
    tensors = (torch.from_numpy(frame.astype(float)) for frame in pair)
    assert found == pytest.approx(
        float(torchmetrics.peak_signal_noise_ratio(*tensors, data_range=255.0)), abs=1e-4
    )
    region = np.zeros(pair[0].shape[:2], bool)
    region[20:50, 10:40] = True
    share = region.mean()
    assert frame_psnr(*pair, region) == pytest.approx(found + 10 * np.log10(share), abs=1e-9)


def test_equal_frames_and_frames_that_are_too_small():
    frame = np.full((65, 65, 3), 7, np.uint8)
    assert (frame_psnr(frame, frame), frame_ssim(frame, frame)) == (100, 1)
    with pytest.raises(InputError, match="at least 65 x 65 pixels, got 65 x 64"):
        frame_ssim(frame[:64], frame[:64])
