"""LPIPS against its formula written out."""

import urllib.error
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from diffmae_video import InputError
from diffmae_video.inpainting.lpips import load_lpips, lpips_map

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


def test_lpips_agrees_with_its_formula(alexnet):
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


def test_a_failed_download_says_where_to_save_the_weights(tmp_path, monkeypatch, alexnet):
    def download(url, path, **_):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(InputError) as caught:
        load_lpips(None, (64, 64))
    message, place = str(caught.value), tmp_path / "hub/checkpoints/alexnet-owt-7be5be79.pth"
    assert "\n" not in message
    assert f"save https://download.pytorch.org/models/alexnet-owt-7be5be79.pth as {place}" in message
    assert "--lpips-weights" in message
    place.write_bytes(alexnet.read_bytes())
    assert load_lpips(None, (64, 64)).spatial


def test_wrong_files_and_small_frames_are_refused(tmp_path, alexnet):
    torch.save({"features.0.weight": torch.zeros(64, 3, 11, 11)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth: not the weights of torchvision's AlexNet"):
        load_lpips(tmp_path / "other.pth", (64, 64))
    with pytest.raises(InputError, match=r"no\.pth: no such file"):
        load_lpips(tmp_path / "no.pth", (64, 64))
    with pytest.raises(InputError, match="frames of at least 32 x 32 pixels"):
        load_lpips(alexnet, (64, 28))
