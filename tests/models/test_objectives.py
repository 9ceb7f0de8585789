"""Every variant: shapes and gradients, what may not render, and that each one learns."""

import itertools
import random

import pytest
import torch

from diffmae_video import InputError, Mask, load_model
from diffmae_video.data import normalise, open_video
from diffmae_video.models import MAE
from diffmae_video.models.decoder import DECODERS
from diffmae_video.models.pixels import IMAGENET_MEAN, IMAGENET_STD
from diffmae_video.tokens import patchify
from tests.tiny_models import tiny_diffmae

# frames, patch, (height, width): an image, 4 and 16 frames; not square
SHAPES = {"image": (1, (1, 8, 8), (24, 32)), "4": (4, (2, 8, 8), (16, 32)), "16": (16, (2, 8, 8), (24, 16))}
DIFFMAE = [(kind, objective) for kind in DECODERS for objective in ("x0", "eps", "normalised")]
VARIANTS = [*DIFFMAE, ("mae", "pixels"), ("mae", "normalised")]


def build(kind, objective, shape, class_token=False, **kwargs):
    frames, patch, size = SHAPES[shape]
    encoder = {"width": 32, "depth": 2, "heads": 2, "class_token": class_token}
    common = {
        "mask": {"kind": "random", "ratio": 0.75},
        "normalize_target": objective == "normalised",
        **kwargs,
    }
    if kind == "mae":
        return MAE(size, frames, patch, encoder, {"width": 32, "depth": 1, "heads": 2}, **common)
    prediction = "eps" if objective == "eps" else "x0"
    return tiny_diffmae(kind, frames, size, patch=patch, encoder=encoder, prediction=prediction, **common)


@pytest.mark.parametrize("class_token", [False, True])
@pytest.mark.parametrize("mask_kind", ["random", "tube", "block", "frame", "center"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("kind", "objective"), VARIANTS)
def test_shapes_and_gradients(kind, objective, shape, mask_kind, class_token):
    if mask_kind == "frame" and shape == "image":
        pytest.skip("an image has one time step")
    model = build(kind, objective, shape, class_token).train()
    frames, patch, size = SHAPES[shape]
    mask = Mask.draw(mask_kind, 2, model.encoder.grid, 0.6)
    out = model(torch.randn(2, 3, frames, *size), mask)
    assert out.prediction.shape == (2, mask.masked.shape[1], patch[0] * patch[1] * patch[2] * 3)
    assert out.prediction.dtype == torch.float32
    out.loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("kind", ["cross", "mae"])
def test_normalised_targets_refuse_to_render(kind):
    model = build(kind, "normalised", "4")
    with pytest.raises(InputError, match="cannot be rendered"):
        model.inpaint(torch.randn(1, 3, 4, 16, 32), Mask.random(1, (2, 2, 4), 0.5))


def test_normalised_targets_are_those_of_mae():
    model = build("mae", "normalised", "4")
    clip, mask = torch.randn(1, 3, 4, 16, 32), Mask.random(1, (2, 2, 4), 0.5)
    patches = patchify(clip, model.patch)[0, mask.masked[0]].numpy()
    expected = (patches - patches.mean(1, keepdims=True)) / (
        patches.var(1, ddof=1, keepdims=True) + 1e-6
    ) ** 0.5
    torch.testing.assert_close(
        model.target(clip, mask.masked)[0], torch.from_numpy(expected), atol=1e-5, rtol=1e-5
    )


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


def test_mae_predicts_in_one_pass_and_keeps_visible_pixels():
    model = build("mae", "pixels", "4", class_token=True)
    clip, mask = torch.randn(2, 3, 4, 16, 32), Mask.random(2, (2, 2, 4), 0.5)
    result = model.inpaint(clip, mask, steps=50, return_steps=True)
    hidden = mask.to_pixels(model.patch).expand_as(clip)
    assert torch.equal(result.clip[~hidden], clip[~hidden])
    assert result.steps.shape == (1, *clip.shape)
    blank = torch.where(hidden, torch.zeros_like(clip), clip)
    assert torch.equal(model.inpaint(blank, mask).clip, result.clip)
    shown = patchify(result.clip, model.patch).gather(1, mask.masked[..., None].expand(-1, -1, 384))
    torch.testing.assert_close(shown, model(clip, mask).prediction)


@pytest.mark.parametrize("kind", ["mae", "cross"])
def test_every_model_comes_back_from_its_folder(tmp_path, kind):
    model = build(kind, "normalised", "image", class_token=True).eval()
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert type(again) is type(model)
    assert again.normalize_target
    image = torch.randn(1, 3, 24, 32)
    assert torch.equal(again.encode(image), model.encode(image))


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


# --- decode_fraction -------------------------------------------------------------------------


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


# --- learning --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def films(real_clips):
    """Decoded real clips with a short side of 48, normalised: each float [3, T, H, W]."""
    decoded = []
    for path in real_clips.values():
        with open_video(path, "pyav", 48) as video:
            decoded.append(torch.from_numpy(video.frames(range(video.num_frames))))
    return [normalise(frames, IMAGENET_MEAN, IMAGENET_STD) for frames in decoded]


def random_crops(films, count, shape, seed, held_out=False):
    """Clips [count, 3, T, H, W] at random places of the films; held out is their last fifth."""
    frames, _, (height, width) = SHAPES[shape]
    draw = random.Random(seed)
    crops = []
    for _ in range(count):
        film = draw.choice(films)
        cut = int(0.8 * film.shape[1])
        film = film[:, cut:] if held_out else film[:, :cut]
        t, y, x = (
            draw.randrange(a - b + 1) for a, b in zip(film.shape[1:], (frames, height, width), strict=True)
        )
        crops.append(film[:, t : t + frames, y : y + height, x : x + width])
    return torch.stack(crops)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["image", "4"])
@pytest.mark.parametrize(
    ("kind", "objective"), [v for v in VARIANTS if v[1] in ("x0", "pixels")] + [("cross", "eps")]
)
def test_200_steps_on_clips_beat_the_visible_mean(films, kind, objective, shape):
    # Noise has no structure: a token narrower than a patch cannot hold it.
    wide = {"decoder": {"width": 192 if shape == "image" else 384}} if objective == "eps" else {}
    model = build(kind, objective, shape, **wide).train()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for step in range(200):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 20) * (1 - step / 200)
        model(random_crops(films, 16, shape, step)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    held_out = random_crops(films, 64, shape, 10_000, held_out=True)
    draw = torch.Generator().manual_seed(0)
    mask = Mask.random(64, model.encoder.grid, 0.75, draw)
    target = model.target(held_out, mask.masked)
    noise = torch.randn(target.shape, generator=draw)
    t = torch.randint(1, 1001, (64,), generator=draw)
    visible = patchify(held_out, model.patch).gather(
        1, mask.visible[..., None].expand(-1, -1, target.shape[-1])
    )
    mean = visible.unflatten(-1, (-1, 3)).mean((1, 2))  # [B, 3]
    mean = mean[:, None].repeat(1, 1, target.shape[-1] // 3)  # [B, 1, P]: patches are flattened (t, p, q, c)
    trivial = ((target - mean) ** 2).mean()
    if objective == "eps":  # what the visible mean makes of the noise; or no noise at all, if that is better
        signal, sigma = (x[:, None, None] for x in model.schedule.signal_and_noise(t))
        implied = (signal * target + sigma * noise - signal * mean) / sigma
        trivial = min(((implied - noise) ** 2).mean(), (noise**2).mean())
    with torch.no_grad():
        loss = model(held_out, mask, t, noise).loss
    assert loss < 0.95 * trivial
