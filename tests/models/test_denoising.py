"""What DDPM and ADM share: the loss, the samplers on a known Gaussian, and RePaint."""

import pytest
import torch

from diffmae_video import Mask, load_model
from tests.models.denoising_models import adm, ddpm


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


@pytest.mark.parametrize("build", [ddpm, adm])
def test_every_model_comes_back_from_its_folder(tmp_path, build):
    model, clip = build(prediction="x0"), torch.randn(1, 3, 1, 16, 16)
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert type(again) is type(model)
    assert again.prediction == "x0"
    t = torch.tensor([9])
    assert torch.equal(again.network(clip, t), model.network(clip, t))
