"""The Fréchet distance against scipy and known values, and the features that it compares."""

import numpy as np
import pytest
import scipy.linalg
import torch

from diffmae_video import InputError, load_model
from diffmae_video.data import Entry, normalise, uniform_clips
from diffmae_video.evaluation.features import extract_features
from diffmae_video.frozen_model import load_frozen
from diffmae_video.inpainting.frechet import (
    FeatureModel,
    check_clips,
    distance_of_gaussians,
    frechet_distance,
)
from diffmae_video.models import Encoder
from tests.tiny_models import tiny_diffmae


def whitened(count, width):
    """Features whose mean is exactly 0 and whose covariance is exactly the identity."""
    x = torch.randn(count, width, dtype=torch.float64)
    x = x - x.mean(0)
    return x @ torch.linalg.inv(torch.linalg.cholesky(x.T.cov())).T


def test_frechet_distance_of_known_gaussians():
    one, other = whitened(40, 4), whitened(50, 4)
    scale, shift = torch.tensor([0.5, 1, 2, 3]), torch.tensor([1, -2, 0, 0.5])
    expected = (shift**2).sum() + ((scale - 1) ** 2).sum()  # covariances that commute
    assert frechet_distance(one * scale + shift, other) == pytest.approx(float(expected), rel=1e-9)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


def test_distance_of_few_vectors_agrees_with_the_eigenvalues_of_the_product():
    a, b = torch.randn(4, 6).double(), torch.randn(3, 6).double()
    first, second = np.cov(a.numpy(), rowvar=False), np.cov(b.numpy(), rowvar=False)
    overlap = np.sqrt(np.linalg.eigvals(first @ second).real.clip(0)).sum()
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second) - 2 * overlap
    assert distance_of_gaussians(a, b) == pytest.approx(float(expected), rel=1e-6)
    assert distance_of_gaussians(a, a) == pytest.approx(0, abs=1e-6)


def test_frechet_distance_agrees_with_scipy():
    a = (torch.randn(60, 6) @ torch.randn(6, 6) + torch.randn(6)).double()
    b = (torch.randn(70, 6) @ torch.randn(6, 6)).double()
    first, second = np.cov(a.numpy(), rowvar=False), np.cov(b.numpy(), rowvar=False)
    root = scipy.linalg.sqrtm(first @ second)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root.real)
    assert frechet_distance(a.float(), b.float()) == pytest.approx(float(expected), rel=1e-4)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


def test_too_few_clips_are_refused():
    check_clips(33, 32)
    with pytest.raises(InputError, match=r"32 clips are too few .* 32 features: use at least 33"):
        check_clips(32, 32)
    with pytest.raises(InputError, match="use at least 5"):
        frechet_distance(torch.rand(9, 4), torch.rand(4, 4))


@pytest.mark.parametrize("kind", ["run", "encoder"])
def test_features_are_those_of_the_features_tool(tmp_path, real_clips, kind):
    options = ["DATA.NUM_FRAMES", 4, "DATA.SIZE", 32]
    if kind == "run":
        tiny_diffmae(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25)).save_pretrained(tmp_path)
    else:  # of 8 frames of 48 pixels: it is fitted
        Encoder((48, 48), 8, (2, 8, 8), width=32, depth=1, heads=2).save_pretrained(tmp_path)
    entry = Entry(str(real_clips["bikes"]))
    frozen = load_frozen(tmp_path, options)
    expected = extract_features(frozen, [entry], batch=16, views=(3, 1)).pooled
    clips = uniform_clips(entry, 3, 4, 4, (32, 32), "pyav")
    features = FeatureModel(tmp_path, 4, (32, 32))
    with torch.no_grad():
        found = features(clips.movedim(-1, 1) / 255)
    assert features.width == 32
    torch.testing.assert_close(found.mean(0, keepdim=True), expected, rtol=1e-4, atol=1e-5)
    if kind == "run":
        whole = normalise(clips, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25))
        torch.testing.assert_close(found, load_model(tmp_path).encode(whole).mean(1), rtol=1e-4, atol=1e-5)
