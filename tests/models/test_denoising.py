"""DDPM and ADM: their networks against the libraries', and their samplers on a known Gaussian."""

import pytest
import torch
from diffusers import UNet2DModel
from timm.models.vision_transformer import VisionTransformer

from diffmae_video import InputError, Mask, load_encoder, load_model
from diffmae_video.models import ADM, DDPM
from diffmae_video.models.layers import TimestepEmbedding
from diffmae_video.models.weights.timm_format import timm_weights

UNET = {"width": 32, "multipliers": [1, 2, 2], "resnets": 1, "attention": [8, 4], "head_width": 32}
VIT = {"width": 32, "depth": 2, "heads": 2}


def ddpm(frames=1, prediction="eps", **encoder):
    patch = (1, 4, 4) if frames == 1 else (2, 4, 4)
    return DDPM((16, 16), frames, patch, {**VIT, **encoder}, prediction=prediction).eval()


def adm(prediction="eps"):
    model = ADM((16, 16), 1, (1, 4, 4), UNET, prediction=prediction).eval()
    for parameter in model.parameters():  # or what is 0 at first would hide the rest
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return model


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


@torch.no_grad()
def test_ddpm_is_timms_vit_with_the_timestep_as_its_first_token():
    model = ddpm()
    xt, t = torch.randn(2, 3, 1, 16, 16), torch.tensor([1, 700])
    peer = VisionTransformer(16, 4, embed_dim=32, depth=2, num_heads=2, num_classes=0, global_pool="").eval()
    for row in range(2):
        weights = timm_weights(model.backbone())
        weights["cls_token"] = model.timestep(t[row : row + 1])[:, None]
        peer.load_state_dict(weights)
        tokens = peer(xt[row : row + 1, :, 0])[:, 1:]
        patches = model.head(tokens).view(1, 4, 4, 4, 4, 3)  # rows, columns, of pixels p, q, c
        picture = patches.permute(0, 5, 1, 3, 2, 4).reshape(1, 3, 16, 16)
        torch.testing.assert_close(model.network(xt, t)[row : row + 1, :, 0], picture, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("prediction", ["eps", "x0"])
@pytest.mark.parametrize("build", [ddpm, adm])
def test_the_loss_is_the_plain_squared_error_and_reaches_all_weights(build, prediction):
    model = build(prediction=prediction)
    clip, noise, t = torch.rand(2, 3, 1, 16, 16), torch.randn(2, 3, 1, 16, 16), torch.tensor([3, 400])
    assert model.noise_shape(clip, None) == noise.shape[1:]
    out = model(clip, t=t, noise=noise)
    abar = model.schedule.alphas_cumprod[t - 1].float().view(2, 1, 1, 1, 1)
    xt = abar.sqrt() * clip + (1 - abar).sqrt() * noise
    torch.testing.assert_close(out.prediction, model.network(xt, t), atol=1e-4, rtol=1e-4)
    target = clip if prediction == "x0" else noise
    torch.testing.assert_close(out.loss, ((out.prediction - target) ** 2).mean())
    out.loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    model.network = lambda *_: clip if prediction == "x0" else noise  # a perfect one
    torch.testing.assert_close(model.predict_x0(xt, t), clip, atol=1e-3, rtol=0)


@pytest.mark.parametrize("prediction", ["eps", "x0"])
@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++"])
def test_samples_of_an_exact_denoiser_have_the_distribution_of_the_data(sampler, prediction):
    mean, std = 0.3, 0.4
    model = ddpm(prediction=prediction)

    def exact(xt, t):
        signal, sigma = (x.view(-1, 1, 1, 1, 1) for x in model.schedule.signal_and_noise(t))
        x0 = mean + signal * std**2 / (signal**2 * std**2 + sigma**2) * (xt - signal * mean)
        return x0 if prediction == "x0" else (xt - signal * x0) / sigma

    model.network = exact
    found = model.sample(64, sampler, steps=100)
    assert found.clip.shape == (64, 3, 1, 16, 16)
    assert found.timesteps[0] == 1000
    assert found.clip.mean() == pytest.approx(mean, abs=0.02)
    assert found.clip.std() == pytest.approx(std, rel=0.05)


@pytest.mark.parametrize("build", [ddpm, adm])
def test_inpainting_keeps_what_is_seen_and_never_reads_the_rest(build):
    model = build(prediction="x0")
    clip, mask = torch.randn(2, 3, 1, 16, 16), Mask.random(2, (1, 4, 4), 0.5)
    hidden = mask.to_pixels((1, 4, 4)).expand_as(clip)
    options = {"steps": 3, "jump": 2, "resamplings": 2}
    result = model.inpaint(clip, mask, return_steps=True, **options)
    assert torch.equal(result.clip[~hidden], clip[~hidden])
    assert result.steps.shape == (3, *clip.shape)
    blank = torch.where(hidden, torch.nan, clip)
    assert torch.equal(model.inpaint(blank, mask, **options).clip, result.clip)
    several = model.inpaint(clip, mask, num_samples=2, **options).clip
    assert several.shape == (4, *clip.shape[1:])
    assert not torch.equal(several[0], several[1])


def test_ddpm_takes_clips_and_its_backbone_is_an_encoder_at_t_0(tmp_path):
    model = ddpm(frames=4)
    model.save_pretrained(tmp_path)
    clip = torch.randn(2, 3, 4, 16, 16)
    assert model(clip).prediction.shape == clip.shape
    tokens = model.encode(clip)
    assert tokens.shape == (2, 32, 32)
    torch.testing.assert_close(load_encoder(tmp_path)(clip), tokens)
    model.timestep.fc2.bias.data += 1
    assert not torch.allclose(model.encode(clip), tokens)
    assert isinstance(model.timestep, TimestepEmbedding)


def test_adm_reads_its_features_off_the_middle_at_the_lowest_timestep():
    model, clip = adm(), torch.randn(2, 3, 1, 16, 16)
    tokens = model.encode(clip)
    assert tokens.shape == (2, 16, 64)
    assert torch.equal(tokens, model.encoder(clip, torch.tensor([1, 1])))
    assert not torch.allclose(tokens, model.encoder(clip, torch.tensor([500, 500])))
    other = model.encoder.resized((32, 16), 1)
    assert other(torch.randn(1, 3, 32, 16)).shape == (1, 32, 64)
    assert torch.equal(other(clip), tokens)


@pytest.mark.parametrize("build", [ddpm, adm])
def test_every_model_comes_back_from_its_folder(tmp_path, build):
    model, clip = build(prediction="x0"), torch.randn(1, 3, 1, 16, 16)
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert type(again) is type(model)
    assert again.prediction == "x0"
    t = torch.tensor([9])
    assert torch.equal(again.network(clip, t), model.network(clip, t))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_frames": 4, "patch": (2, 4, 4)}, "adm is for pictures: set DATA.NUM_FRAMES 1, not 4"),
        ({"encoder": {**UNET, "width": 40}}, "does not divide by its 32 groups"),
        ({"encoder": {**UNET, "multipliers": [1, 2, 3], "head_width": 64}}, "channels that divide by 64"),
        ({"image_size": (18, 16), "patch": (1, 2, 2)}, "cannot be halved 2 times"),
        ({"prediction": "v"}, "unknown prediction 'v'"),
    ],
)
def test_what_makes_no_adm(arguments, message):
    with pytest.raises(InputError, match=message):
        ADM(**{"image_size": (16, 16), "num_frames": 1, "patch": (1, 4, 4), "encoder": UNET, **arguments})
