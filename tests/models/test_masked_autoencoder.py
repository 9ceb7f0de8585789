"""Every variant of a masked autoencoder: shapes and gradients, targets, folders, and that each one learns."""

import random

import pytest
import torch

from diffmae_video import InputError, Mask, load_model
from diffmae_video.data import normalise, open_video
from diffmae_video.models.pixels import IMAGENET_MEAN, IMAGENET_STD
from diffmae_video.tokens import patchify
from tests.models.masked_autoencoders import SHAPES, VARIANTS, build


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
        model.target(model.split(clip, mask)[1])[0], torch.from_numpy(expected), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("kind", ["mae", "cross"])
def test_every_model_comes_back_from_its_folder(tmp_path, kind):
    model = build(kind, "normalised", "image", class_token=True).eval()
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert type(again) is type(model)
    assert again.normalize_target
    image = torch.randn(1, 3, 24, 32)
    assert torch.equal(again.encode(image), model.encode(image))


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
    target = model.target(model.split(held_out, mask)[1])
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
