"""ADM: its network against diffusers' U-Net, and its features."""

import pytest
import torch
from diffusers import UNet2DModel

from diffmae_video import InputError
from diffmae_video.models import ADM
from tests.models.denoising_models import UNET, adm


@torch.no_grad()
def test_adm_is_diffusers_unet():
    model = adm()
    peer = UNet2DModel(
        sample_size=16,
        block_out_channels=(32, 64, 64),
        down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"),
        layers_per_block=1,
        downsample_type="resnet",
        upsample_type="resnet",
        resnet_time_scale_shift="scale_shift",
        attention_head_dim=32,
    ).eval()
    state = model.state_dict()
    peer.load_state_dict({k.removeprefix("encoder.").removeprefix("decoder."): v for k, v in state.items()})
    xt, t = torch.randn(2, 3, 1, 16, 16), torch.tensor([1, 700])
    expected = peer(xt[:, :, 0], t - 1).sample  # diffusers counts timesteps from 0
    torch.testing.assert_close(model.network(xt, t)[:, :, 0], expected, atol=1e-5, rtol=1e-5)


def test_adm_reads_its_features_off_the_middle_at_the_lowest_timestep():
    model, clip = adm(), torch.randn(2, 3, 1, 16, 16)
    tokens = model.encode(clip)
    assert tokens.shape == (2, 16, 64)
    assert torch.equal(tokens, model.encoder(clip, torch.tensor([1, 1])))
    assert not torch.allclose(tokens, model.encoder(clip, torch.tensor([500, 500])))
    other = model.encoder.resized((32, 16), 1)
    assert other(torch.randn(1, 3, 32, 16)).shape == (1, 32, 64)
    assert torch.equal(other(clip), tokens)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_frames": 4, "patch": (2, 4, 4)}, "adm is for pictures: set DATA.NUM_FRAMES 1, not 4"),
        ({"encoder": {**UNET, "width": 40}}, "must be a multiple of 32, for its groups"),
        ({"encoder": {**UNET, "multipliers": [1, 2, 3], "head_width": 64}}, "need a multiple of 64 channels"),
        ({"image_size": (18, 16), "patch": (1, 2, 2)}, "cannot be halved 2 times"),
        ({"prediction": "v"}, "unknown prediction 'v'"),
    ],
)
def test_what_makes_no_adm(arguments, message):
    with pytest.raises(InputError, match=message):
        ADM(**{"image_size": (16, 16), "num_frames": 1, "patch": (1, 4, 4), "encoder": UNET, **arguments})
