"""What the method promises: who sees what, and that noise is on masked pixels only."""

import itertools

import pytest
import torch

from diffmae_video import InputError, Mask, load_model
from diffmae_video.models.decoder import DECODERS
from diffmae_video.tokens import patchify
from tests.models.masked_autoencoders import build
from tests.tiny_models import tiny_diffmae

GRID = (2, 4, 4)


def setup(kind):
    model = tiny_diffmae(kind)
    clip = torch.randn(2, 3, 4, 32, 32)
    mask = Mask.random(2, GRID, 0.75, torch.Generator().manual_seed(3))
    noise = torch.randn(2, mask.masked.shape[1], 384)
    return model, clip, mask, noise


def change(clip, index, batch=0):
    """Adds 1 to the pixels of one token of one clip."""
    changed = clip.clone()
    t, row, column = int(index) // 16, int(index) // 4 % 4, int(index) % 4
    changed[batch, :, 2 * t : 2 * t + 2, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] += 1
    return changed


@pytest.mark.parametrize("kind", DECODERS)
@torch.no_grad()
def test_a_visible_pixel_moves_the_prediction(kind):
    model, clip, mask, noise = setup(kind)
    t = torch.tensor([300, 300])
    before = model(clip, mask, t, noise).prediction
    after = model(change(clip, mask.visible[0, 2]), mask, t, noise).prediction
    assert (after[0] - before[0]).abs().amax(-1).min() > 1e-6  # every masked patch of that clip
    assert torch.equal(after[1], before[1])  # and nothing of the other clip


@pytest.mark.parametrize("kind", DECODERS)
@torch.no_grad()
def test_a_masked_pixel_moves_it_only_through_xt(kind):
    model, clip, mask, noise = setup(kind)
    t = torch.tensor([300, 300])
    changed = change(clip, mask.masked[0, 5])
    assert not torch.equal(model(changed, mask, t, noise).prediction, model(clip, mask, t, noise).prediction)
    xt = torch.randn_like(noise)
    one, two = (model.denoise(xt, t, model.encode_latents(c, mask), mask) for c in (clip, changed))
    assert torch.equal(one, two)


@pytest.mark.parametrize("kind", DECODERS)
@torch.no_grad()
def test_at_T_the_masked_content_is_gone(kind):
    model, clip, mask, noise = setup(kind)
    t = torch.tensor([1000, 1000])
    other = clip.clone()
    for index in mask.masked[0]:
        other = change(other, index)
    before, after = model(clip, mask, t, noise).prediction, model(other, mask, t, noise).prediction
    assert (after - before).norm() / before.norm() < 1e-4


@pytest.mark.parametrize(("kind", "others_move"), [("cross", False), ("cross_self", True), ("joint", True)])
@torch.no_grad()
def test_which_noised_tokens_see_each_other(kind, others_move):
    model, clip, mask, noise = setup(kind)
    t, latents = torch.tensor([300, 300]), model.encode_latents(clip, mask)
    changed = noise.clone()
    changed[0, 4] += 1
    difference = (
        (model.denoise(changed, t, latents, mask) - model.denoise(noise, t, latents, mask)).abs().amax(-1)
    )
    assert difference[0, 4] > 1e-6
    rest = torch.cat([difference[0, :4], difference[0, 5:]])
    assert (rest > 0).all() if others_move else (rest == 0).all()
    assert (difference[1] == 0).all()


@torch.no_grad()
def test_the_timestep_moves_the_prediction():
    model, clip, mask, noise = setup("cross")
    latents = model.encode_latents(clip, mask)
    outs = [model.denoise(noise, torch.tensor([t, t]), latents, mask) for t in (998, 999, 1000)]
    assert not torch.allclose(outs[0], outs[1], atol=1e-6)
    assert not torch.allclose(outs[1], outs[2], atol=1e-6)
    # and each clip has its own
    mixed = model.denoise(noise, torch.tensor([998, 1000]), latents, mask)
    torch.testing.assert_close(mixed[0], outs[0][0])
    torch.testing.assert_close(mixed[1], outs[2][1])


@torch.no_grad()
def test_the_loss_is_the_mean_squared_error_of_masked_patches():
    model, clip, mask, noise = setup("cross_self")
    t = torch.tensor([10, 900])
    out = model(clip, mask, t, noise)
    target = patchify(clip, model.patch).gather(1, mask.masked[..., None].expand(-1, -1, 384))
    torch.testing.assert_close(out.loss, ((out.prediction - target) ** 2).mean())
    abar = model.schedule.alphas_cumprod[t - 1].float()[:, None, None]
    xt = abar.sqrt() * target + (1 - abar).sqrt() * noise
    torch.testing.assert_close(model.denoise(xt, t, model.encode_latents(clip, mask), mask), out.prediction)


def test_what_is_none_is_drawn_and_a_generator_fixes_it():
    model = tiny_diffmae()
    clip = torch.randn(2, 3, 4, 32, 32)
    one, two = (model(clip, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one.loss, two.loss)
    assert one.mask.visible.shape == (2, 8)
    assert not torch.equal(model(clip, generator=torch.Generator().manual_seed(2)).loss, one.loss)


def test_an_image_is_a_clip_of_one_frame():
    model = tiny_diffmae(frames=1, size=(16, 32), patch=(1, 8, 8))
    assert model(torch.randn(2, 3, 1, 16, 32)).prediction.shape == (2, 6, 192)
    image = torch.randn(2, 3, 16, 32)
    torch.testing.assert_close(model.encode(image), model.encode(image[:, :, None]))


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++"])
@pytest.mark.parametrize("kind", DECODERS)
def test_inpaint_keeps_visible_pixels_and_fills_the_rest(kind, sampler):
    model, clip, mask, _ = setup(kind)
    result = model.inpaint(clip, mask, sampler, steps=6, seed=4, return_steps=True)
    hidden = mask.to_pixels(model.patch).expand_as(clip)
    assert torch.equal(result.clip[~hidden], clip[~hidden])
    assert not torch.isclose(result.clip[hidden], clip[hidden]).all()
    assert result.steps.shape == (6, *clip.shape)
    assert torch.equal(result.steps[:, ~hidden], clip[~hidden].expand(6, -1))
    assert len(result.timesteps) == 6
    assert result.timesteps[0] == 1000
    again = model.inpaint(clip, mask, sampler, steps=6, seed=4)
    assert torch.equal(again.clip, result.clip)
    assert again.steps is None
    assert not torch.equal(model.inpaint(clip, mask, sampler, steps=6, seed=5).clip, result.clip)
    # What stands behind the mask is never read.
    blank = torch.where(hidden, torch.zeros_like(clip), clip)
    assert torch.equal(model.inpaint(blank, mask, sampler, steps=6, seed=4).clip, result.clip)


def test_inpaint_runs_the_encoder_and_the_keys_once():
    model, clip, mask, _ = setup("cross_self")
    calls = {"encoder": 0, "kv": 0, "q": 0}
    model.encoder.blocks[0].register_forward_hook(
        lambda *_: calls.__setitem__("encoder", calls["encoder"] + 1)
    )
    block = model.decoder.blocks[0].cross
    block.kv.register_forward_hook(lambda *_: calls.__setitem__("kv", calls["kv"] + 1))
    block.q.register_forward_hook(lambda *_: calls.__setitem__("q", calls["q"] + 1))
    model.train()
    model.inpaint(clip, mask, steps=9)
    assert calls == {"encoder": 1, "kv": 1, "q": 9}
    assert model.training


@pytest.mark.parametrize("num_samples", [1, 2])
def test_inpaint_step_by_step_may_be_left_early(num_samples):
    model, clip, mask, _ = setup("cross")
    model.train()
    whole = model.inpaint(clip, mask, steps=4, seed=3, return_steps=True, num_samples=num_samples)
    clips, masks = clip.repeat_interleave(num_samples, 0), mask.repeat_interleave(num_samples)
    run = model.inpaint_steps(clip, mask, steps=4, seed=3, num_samples=num_samples)
    for wanted, picture in zip(whole.timesteps[:2], whole.steps, strict=False):
        t, fill = next(run)
        assert t == wanted
        assert not fill.requires_grad
        assert torch.equal(model.paste(clips, masks, fill), picture)
        assert torch.is_grad_enabled()  # between the steps
    run.close()
    assert model.training


def test_inpaint_shows_the_prediction_at_each_t():
    """Step 0 is the decoder's answer to the seed's own noise at T: no other t, nothing re-noised."""
    model, clip, mask, _ = setup("cross")
    result = model.inpaint(clip, mask, steps=3, seed=7, return_steps=True)
    noise = torch.randn(2, mask.masked.shape[1], 384, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        x0 = model.denoise(noise, torch.tensor([1000, 1000]), model.encode_latents(clip, mask), mask)
    shown = patchify(result.steps[0], model.patch).gather(1, mask.masked[..., None].expand(-1, -1, 384))
    torch.testing.assert_close(shown, x0)


def test_every_parameter_gets_a_gradient():
    for kind in DECODERS:
        model = tiny_diffmae(kind, encoder={"class_token": True}).train()
        model(torch.randn(2, 3, 4, 32, 32)).loss.backward()
        assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_what_does_not_fit_is_refused():
    model = tiny_diffmae()
    with pytest.raises(InputError, match="grid of"):
        model(torch.randn(1, 3, 4, 32, 32), Mask.random(1, (2, 4, 2), 0.5))
    with pytest.raises(InputError, match="a mask of 1 clips does not fit a batch of 2"):
        model.inpaint(torch.randn(2, 3, 4, 32, 32), Mask.random(1, [2, 4, 4], 0.5))
    with pytest.raises(InputError, match="not a multiple"):
        model(torch.randn(1, 3, 4, 32, 36))
    with pytest.raises(InputError, match="does not divide by 5 heads"):
        tiny_diffmae(decoder={"heads": 5})
    with pytest.raises(InputError, match="unknown decoder 'self'"):
        tiny_diffmae("self")


@torch.no_grad()
def test_eps_prediction_is_the_noise_and_denoise_turns_it_into_x0():
    model = build("cross", "eps", "4")
    clip, mask = torch.rand(2, 3, 4, 16, 32), Mask.random(2, (2, 2, 4), 0.5)
    x0 = patchify(clip, model.patch).gather(1, mask.masked[..., None].expand(-1, -1, 384))
    noise, t = torch.randn(x0.shape), torch.tensor([5, 100])
    out = model(clip, mask, t, noise)
    torch.testing.assert_close(out.loss, ((out.prediction - noise) ** 2).mean())
    xt = model.schedule.add_noise(x0, t, noise)
    model.decoder.forward = lambda *_: noise  # a perfect network
    torch.testing.assert_close(
        model.denoise(xt, t, model.encode_latents(clip, mask), mask), x0, atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("kind", DECODERS)
def test_several_samples_of_one_clip(kind):
    model = build(kind, "x0", "4")
    clip, mask = torch.randn(2, 3, 4, 16, 32), Mask.random(2, (2, 2, 4), 0.5)
    result = model.inpaint(clip, mask, steps=4, num_samples=3, return_steps=True)
    hidden = mask.to_pixels(model.patch).expand_as(clip)
    assert result.clip.shape == (6, *clip.shape[1:])
    assert result.steps.shape == (4, 6, *clip.shape[1:])
    for i, j in itertools.product(range(2), range(3)):
        sample = result.clip[3 * i + j]
        assert torch.equal(sample[~hidden[i]], clip[i][~hidden[i]])
        assert j == 0 or not torch.equal(sample, result.clip[3 * i])


# --- decoding a share of the masked patches ---------------------------------------------------


def test_decode_fraction_is_for_cross_and_a_share():
    with pytest.raises(InputError, match="needs the cross decoder"):
        tiny_diffmae("cross_self", decode_fraction=0.5)
    for wrong in (0.0, 1.5):
        with pytest.raises(InputError, match="share in"):
            tiny_diffmae("cross", decode_fraction=wrong)


def test_a_subset_is_decoded_in_training_only_and_as_in_the_full_forward():
    model = build("cross", "x0", "4", decode_fraction=0.5).train()
    clip, mask = torch.randn(2, 3, 4, 16, 32), Mask.random(2, (2, 2, 4), 0.75)
    noise, t = torch.randn(2, 12, 384), torch.tensor([200, 700])
    out = model(clip, mask, t, noise)
    assert out.prediction.shape == (2, 6, 384)
    full = model.eval()(clip, mask, t, noise)
    assert full.prediction.shape == (2, 12, 384)
    assert full.decoded is None
    for i in range(2):
        places = [mask.masked[i].tolist().index(token) for token in out.decoded[i].tolist()]
        assert places == sorted(set(places))
        torch.testing.assert_close(out.prediction[i], full.prediction[i, places])


def test_the_mean_over_subsets_is_the_full_loss_and_gradient():
    model = build("cross", "x0", "4", decode_fraction=0.25).train()
    clip, mask = torch.randn(1, 3, 4, 16, 32), Mask.random(1, (2, 2, 4), 0.75)
    noise, t = torch.randn(1, 12, 384), torch.tensor([300])
    weight = model.decoder.head.weight

    def loss_and_gradient(seed):
        loss = model(clip, mask, t, noise, torch.Generator().manual_seed(seed)).loss
        return loss.detach(), torch.autograd.grad(loss, weight)[0]

    draws = [loss_and_gradient(seed) for seed in range(600)]
    model.eval()
    loss, gradient = loss_and_gradient(0)
    losses = torch.stack([d[0] for d in draws])
    error = losses.std() / len(draws) ** 0.5
    assert abs(losses.mean() - loss) < 4 * error
    mean = torch.stack([d[1] for d in draws]).mean(0)
    assert (mean - gradient).norm() < 0.1 * gradient.norm()


@pytest.mark.parametrize("per_token", [False, True])
def test_training_weighs_errors_by_timestep_and_validation_does_not(per_token):
    model = tiny_diffmae("cross", weighting="min_snr", token_timesteps=per_token)
    clip, mask = torch.randn(2, 3, 4, 32, 32), Mask.random(2, (2, 4, 4), 0.75)
    t = torch.randint(1, 1001, mask.masked.shape) if per_token else torch.tensor([20, 900])
    noise = torch.randn(*mask.masked.shape, 384)
    plain = model(clip, mask, t, noise)
    errors = (plain.prediction - model.target(model.split(clip, mask)[1])).square().mean(-1)
    torch.testing.assert_close(plain.loss, errors.mean())
    weights = model.schedule.loss_weights("min_snr").float()[t - 1]
    weights = weights if per_token else weights[:, None]
    torch.testing.assert_close(model.train()(clip, mask, t, noise).loss, (weights * errors).mean())


def test_predicted_noise_takes_no_weighting():
    with pytest.raises(InputError, match=r"set MODEL\.PREDICTION x0, not eps"):
        tiny_diffmae("cross", weighting="v", prediction="eps")


def test_sampling_starts_from_noise_that_is_shared_over_time():
    model = tiny_diffmae("cross", frames=8, shared_noise=0.6)
    mask = Mask.random(60, (4, 4, 4), 0.75, torch.Generator().manual_seed(0))
    noise = model.first_noise(mask, torch.Generator().manual_seed(1))
    whole = torch.full((60, 64, 384), torch.nan)
    whole.scatter_(1, mask.masked[..., None].expand_as(noise), noise)
    over_time = whole.view(60, 4, 16, 384)
    for one, other, correlation in (
        (over_time[:, :-1], over_time[:, 1:], 0.6),
        (over_time[:, :, :-1], over_time[:, :, 1:], 0.0),  # neighbours in space
        (over_time[:-1], over_time[1:], 0.0),
        (over_time, over_time, 1.0),
    ):
        assert float((one * other).nanmean()) == pytest.approx(correlation, abs=0.01)


def test_shared_noise_is_for_the_cross_decoder_and_kept_with_the_model(tmp_path):
    with pytest.raises(InputError, match="shared_noise needs the cross decoder"):
        tiny_diffmae("cross_self", shared_noise=0.5)
    with pytest.raises(InputError, match=r"a correlation from 0 to 1, got 1\.5"):
        tiny_diffmae("cross", shared_noise=1.5)
    model = tiny_diffmae("cross", shared_noise=0.5)
    model.save_pretrained(tmp_path)
    assert load_model(tmp_path).shared_noise == 0.5
    clip, mask = torch.randn(2, 3, 4, 32, 32), Mask.random(2, (2, 4, 4), 0.75)
    shared = model.inpaint(clip, mask, steps=2, num_samples=2).clip
    model.shared_noise = 0.0
    assert not torch.equal(shared, model.inpaint(clip, mask, steps=2, num_samples=2).clip)
