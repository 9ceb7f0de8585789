"""pytorchvideo's hub networks from a file of weights."""

import warnings

import pytest
import torch

from diffmae_video import InputError
from diffmae_video.inpainting.frechet import FeatureModel
from diffmae_video.inpainting.video_networks import load_video_network, resize_clips

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorchvideo.models import hub


def hub_network(name):
    """A network of random weights whose batch norms have statistics of their own."""
    torch.manual_seed(0)
    network = getattr(hub, name)(pretrained=False).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network


@pytest.fixture(scope="module")
def x3d(tmp_path_factory):
    network = hub_network("x3d_s")
    path = tmp_path_factory.mktemp("x3d") / "X3D_S.pyth"
    torch.save({"model_state": network.state_dict()}, path)
    return network, path


def test_features_of_x3d_are_what_its_head_pools(x3d):
    network, path = x3d
    pooled = []
    network.blocks[-1].register_forward_pre_hook(lambda _, inputs: pooled.append(inputs[0].mean((2, 3, 4))))
    clips = torch.rand(2, 3, 13, 160, 160)
    with torch.no_grad():
        network((clips - 0.45) / 0.225)  # the size that it was made for
    features = load_video_network(path)
    assert features.width == 192
    torch.testing.assert_close(features(clips), pooled[0], rtol=1e-4, atol=1e-5)


def test_features_of_slowfast_are_its_classifiers_input(tmp_path):
    network = hub_network("slowfast_r50")
    torch.save(network.state_dict(), tmp_path / "slowfast.pth")
    pooled = []
    network.blocks[-1].register_forward_pre_hook(lambda _, inputs: pooled.append(inputs[0].flatten(1)))
    clip = torch.rand(1, 3, 32, 224, 224)
    normalised = (clip - 0.45) / 0.225
    slow = normalised[:, :, torch.linspace(0, 31, 8).long()]
    with torch.no_grad():
        network([slow, normalised])
    features = load_video_network(tmp_path / "slowfast.pth")
    assert features.width == 2304
    torch.testing.assert_close(features(clip), pooled[0], rtol=1e-3, atol=1e-4)
    assert features(torch.rand(1, 3, 6, 64, 64)).shape == (1, 2304)  # frames that four does not divide


def test_it_serves_as_the_features_of_the_frechet_distance(x3d):
    _, path = x3d
    model = FeatureModel(path, 4, (32, 48))
    clips = torch.randint(0, 256, (2, 3, 4, 32, 48)) / 255
    found = model(clips)
    assert found.shape == (2, model.width) == (2, 192)
    torch.testing.assert_close(found, load_video_network(path)(resize_clips(clips)))
    with pytest.raises(InputError, match="no features of single images"):
        FeatureModel(path, 1, (32, 48))


def test_a_network_is_known_by_its_layers(tmp_path, x3d):
    network, _ = x3d
    weights = network.state_dict()
    no_head = {key: value for key, value in weights.items() if not key.startswith("blocks.5")}
    torch.save(no_head, tmp_path / "fine_tuned.pth")
    assert load_video_network(tmp_path / "fine_tuned.pth").width == 192
    torch.save({"blocks.0.attn.qkv.weight": torch.zeros(6, 2)}, tmp_path / "vit.pth")
    assert load_video_network(tmp_path / "vit.pth") is None
    assert load_video_network(tmp_path) is None
    weights["blocks.0.conv.conv_t.weight"] = torch.zeros(3, 3, 3, 3, 3)
    torch.save(weights, tmp_path / "other.pth")
    with pytest.raises(InputError, match="belong to none of pytorchvideo's x3d_m, "):
        load_video_network(tmp_path / "other.pth")
