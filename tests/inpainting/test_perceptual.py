"""LPIPS against its formula written out, Fréchet's distance against scipy and where it is known."""

import urllib.error
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F

from diffmae_video import InputError, load_model
from diffmae_video.data import Entry, normalise, uniform_clips
from diffmae_video.evaluation.features import extract_features, load_frozen
from diffmae_video.inpainting.perceptual import (
    FeatureModel,
    check_clips,
    frechet_distance,
    load_lpips,
    lpips_map,
)
from diffmae_video.models import Encoder
from tests.tiny_models import tiny_diffmae

# Of AlexNet's layers: number, input and output channels, kernel, stride, padding; * after a pooling.
LAYERS = ((0, 3, 64, 11, 4, 2), (3, 64, 192, 5, 1, 2), (6, 192, 384, 3, 1, 1), (8, 384, 256, 3, 1, 1),
          (10, 256, 256, 3, 1, 1))  # fmt: skip
POOLED = (3, 6)


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory):
    """A file of random weights with the names and shapes of AlexNet's first half."""
    state = torch.Generator().manual_seed(0)
    weights = {}
    for n, channels, width, kernel, _, _ in LAYERS:
        shape = (width, channels, kernel, kernel)
        weights[f"features.{n}.weight"] = torch.randn(shape, generator=state) / (channels * kernel**2) ** 0.5
        weights[f"features.{n}.bias"] = 0.1 * torch.randn(width, generator=state)
    weights["classifier.6.bias"] = torch.zeros(1000)
    path = tmp_path_factory.mktemp("alexnet") / "alexnet.pth"
    torch.save(weights, path)
    return path


def lpips_by_hand(fill, truth, weights):
    """Frames [n, 3, H, W] in [0, 1] -> [n, H, W]: Zhang et al.'s equation 1, not yet averaged over places."""
    import lpips

    linear = torch.load(Path(lpips.__file__).parent / "weights/v0.1/alex.pth", "cpu", weights_only=True)
    mean, std = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    x, y = (((2 * frames - 1) - mean.view(3, 1, 1)) / std.view(3, 1, 1) for frames in (fill, truth))
    total = 0
    for i, (n, *_, stride, padding) in enumerate(LAYERS):
        if n in POOLED:
            x, y = F.max_pool2d(x, 3, 2), F.max_pool2d(y, 3, 2)
        w, b = weights[f"features.{n}.weight"], weights[f"features.{n}.bias"]
        x, y = (F.conv2d(z, w, b, stride, padding).relu() for z in (x, y))
        apart = (F.normalize(x, dim=1) - F.normalize(y, dim=1)) ** 2
        weighted = (apart * linear[f"lin{i}.model.1.weight"][0]).sum(1, keepdim=True)
        total = total + F.interpolate(weighted, fill.shape[2:], mode="bilinear")
    return total[:, 0]


def test_lpips_is_its_formula(alexnet):
    network = load_lpips(alexnet, (64, 48))
    truth = torch.rand(2, 3, 2, 64, 48)
    fill = truth.clone()
    fill[:, :, :, :24] = torch.rand(2, 3, 2, 24, 48)
    with torch.no_grad():
        found = lpips_map(network, fill, truth)
        assert lpips_map(network, truth, truth).abs().max() == 0
    assert found.shape == (2, 1, 2, 64, 48)
    expected = lpips_by_hand(fill[1].transpose(0, 1), truth[1].transpose(0, 1), torch.load(alexnet))
    torch.testing.assert_close(found[1, 0], expected, rtol=1e-3, atol=1e-5)
    assert found[1, 0, :, :16].mean() > 3 * found[1, 0, :, 48:].mean() > 0


def test_weights_that_are_not_there_are_named_with_their_place(tmp_path, monkeypatch, alexnet):
    def download(url, path, **_):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(InputError) as caught:
        load_lpips(None, (64, 64))
    message, place = str(caught.value), tmp_path / "hub/checkpoints/alexnet-owt-7be5be79.pth"
    assert "\n" not in message
    assert f"put https://download.pytorch.org/models/alexnet-owt-7be5be79.pth at {place}" in message
    assert "--lpips-weights" in message
    place.write_bytes(alexnet.read_bytes())
    assert load_lpips(None, (64, 64)).spatial


def test_other_files_and_small_frames_are_refused(tmp_path, alexnet):
    torch.save({"features.0.weight": torch.zeros(64, 3, 11, 11)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth: not the weights of torchvision's AlexNet"):
        load_lpips(tmp_path / "other.pth", (64, 64))
    with pytest.raises(InputError, match=r"no\.pth: no such file"):
        load_lpips(tmp_path / "no.pth", (64, 64))
    with pytest.raises(InputError, match="frames of 32 pixels or more"):
        load_lpips(alexnet, (64, 28))


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


def test_frechet_distance_is_scipys():
    a = (torch.randn(60, 6) @ torch.randn(6, 6) + torch.randn(6)).double()
    b = (torch.randn(70, 6) @ torch.randn(6, 6)).double()
    first, second = np.cov(a.numpy(), rowvar=False), np.cov(b.numpy(), rowvar=False)
    root = scipy.linalg.sqrtm(first @ second)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root.real)
    assert frechet_distance(a.float(), b.float()) == pytest.approx(float(expected), rel=1e-4)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


def test_too_few_clips_are_refused_with_the_number_that_is_needed():
    check_clips(33, 32)
    with pytest.raises(InputError, match=r"32 clips are too few .* 32 features: take 33 or more"):
        check_clips(32, 32)
    with pytest.raises(InputError, match="take 5 or more"):
        frechet_distance(torch.rand(9, 4), torch.rand(4, 4))


@pytest.mark.parametrize("kind", ["run", "encoder"])
def test_features_are_those_of_the_features_tool(tmp_path, real_clips, kind):
    options = ["DATA.NUM_FRAMES", 4, "DATA.SIZE", 32]
    if kind == "run":
        tiny_diffmae(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25)).save_pretrained(tmp_path)
    else:  # of 8 frames of 48 pixels: it is fitted
        Encoder((48, 48), 8, (2, 8, 8), width=32, depth=1, heads=2).save_pretrained(tmp_path)
    entry = Entry(str(real_clips["bikes"]))
    model, cfg = load_frozen(tmp_path, options)
    expected = extract_features(model, cfg, [entry], views=(3, 1)).pooled
    clips = uniform_clips(entry, 3, 4, 4, (32, 32), "pyav")
    features = FeatureModel(tmp_path, 4, (32, 32))
    with torch.no_grad():
        found = features(clips.movedim(-1, 1) / 255)
    assert features.width == 32
    torch.testing.assert_close(found.mean(0, keepdim=True), expected, rtol=1e-4, atol=1e-5)
    if kind == "run":
        whole = normalise(clips, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25))
        torch.testing.assert_close(found, load_model(tmp_path).encode(whole).mean(1), rtol=1e-4, atol=1e-5)
