"""Blended windows: one clip is filled as by the model itself, several agree with a slow loop."""

import pytest
import torch

from diffmae_video import Mask
from diffmae_video.diffusion import sample
from diffmae_video.film.blended_windows import BlendedWindows
from diffmae_video.film.windows import Window, WindowBatch, hat, make_batches
from diffmae_video.models import MAE
from diffmae_video.tokens import gather_tokens, patchify, unpatchify
from tests.tiny_models import tiny_diffmae

GRID, PATCH = (2, 4, 4), (2, 8, 8)


@pytest.mark.parametrize("kind", ["cross", "cross_self", "joint"])
@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm++"])
def test_one_clip_is_filled_as_by_the_model_itself(kind, sampler):
    model, clip = tiny_diffmae(kind), torch.randn(1, 3, 4, 32, 32)
    mask = Mask.random(1, GRID, 0.6)
    expected = model.inpaint(clip, mask, sampler, steps=5, seed=3)
    # the fresh noise of ddpm is drawn per pixel here and per hidden patch there
    noise = torch.randn(1, *mask.masked.shape[1:], 2 * 64 * 3, generator=torch.Generator().manual_seed(3))
    whole = torch.zeros(1, 32, 384).scatter(1, mask.masked[..., None].expand_as(noise), noise)
    fill = BlendedWindows(model, clip[0], [WindowBatch([Window(0, 0, 0)], mask)])
    steps = []
    filled = fill.sample(unpatchify(whole, GRID, PATCH)[0], sampler, 5, on_step=steps.append)
    masked = mask.to_pixels(PATCH)[0]
    assert torch.equal(fill.weight > 0, masked[0])
    if sampler != "ddpm":
        torch.testing.assert_close(torch.where(masked, filled, clip[0]), expected.clip[0], atol=2e-5, rtol=0)
    assert len(steps) == 5
    assert torch.equal(steps[-1], filled)


def test_one_clip_of_an_mae_is_its_prediction():
    narrow = {"width": 32, "depth": 2, "heads": 2}
    model = MAE((32, 32), 4, PATCH, narrow, narrow).eval()
    clip, mask = torch.randn(1, 3, 4, 32, 32), Mask.random(1, GRID, 0.6)
    filled = BlendedWindows(model, clip[0], [WindowBatch([Window(0, 0, 0)], mask)]).sample(
        torch.randn(3, 4, 32, 32)
    )
    expected = model.inpaint(clip, mask).clip[0]
    torch.testing.assert_close(
        torch.where(mask.to_pixels(PATCH)[0], filled, clip[0]), expected, atol=1e-5, rtol=0
    )


def test_overlapping_clips_agree_with_a_loop_over_pixels_of_each():
    """Clips start at odd frames, lie side by side and differ in how many patches they mask."""
    model = tiny_diffmae("cross_self")
    canvas, noise = torch.randn(3, 9, 32, 48), torch.randn(3, 9, 32, 48)
    hidden = torch.zeros(9, 4, 6, dtype=torch.bool)
    hidden[2:6, 1:3, 1:5] = True
    hidden[6, 3, 5] = True
    places = [Window(f, 0, c) for f in (0, 3, 5) for c in (0, 2)]
    batches = make_batches(hidden, places, GRID, 2, max_windows=4)
    joint = BlendedWindows(model, canvas, batches)
    assert sorted(p for b in batches for p in b.windows) == places

    clips = [
        (place, Mask(b.mask.visible[i : i + 1], b.mask.masked[i : i + 1], GRID))
        for b in batches
        for i, place in enumerate(b.windows)
    ]
    weights = hat(4)[:, None, None] * hat(32)[:, None] * hat(32)

    def slow(xt, t):
        total, weight = torch.zeros(3, 9, 32, 48), torch.zeros(9, 32, 48)
        for (f, _, c), mask in clips:
            place = (slice(None), slice(f, f + 4), slice(0, 32), slice(8 * c, 8 * c + 32))
            latents = model.encode_latents(canvas[place][None], mask)
            x = gather_tokens(patchify(xt[0][place][None], PATCH), mask.masked)
            x0 = model.paste(torch.zeros(1, 3, 4, 32, 32), mask, model.denoise(x, t, latents, mask))[0]
            total[place] += x0 * weights
            weight[place[1:]] += mask.to_pixels(PATCH)[0, 0] * weights
        return (total / weight.clamp_min(1e-12))[None]

    with torch.no_grad():
        expected = sample(slow, noise[None], model.schedule, "ddim", 4)[0]
    filled = joint.sample(noise, "ddim", 4)
    torch.testing.assert_close(filled, expected, atol=1e-4, rtol=0)
    assert bool((joint.weight > 0).any())


def test_hidden_pixels_are_never_read():
    model = tiny_diffmae()
    hidden = torch.zeros(7, 4, 4, dtype=torch.bool)
    hidden[:, 1:3, 1:3] = True
    batches = make_batches(hidden, [Window(0, 0, 0), Window(3, 0, 0)], GRID, 2, max_windows=8)
    canvas, noise = torch.randn(3, 7, 32, 32), torch.randn(3, 7, 32, 32)
    other = canvas.clone()
    other[:, :, 8:24, 8:24] = 99.0
    assert torch.equal(
        BlendedWindows(model, canvas, batches).sample(noise, steps=2),
        BlendedWindows(model, other, batches).sample(noise, steps=2),
    )


def test_consecutive_stretches_act_as_one():
    """An MAE ignores x_t, so two stretches must give exactly what one stretch of all clips gives."""
    narrow = {"width": 32, "depth": 2, "heads": 2}
    model = MAE((32, 32), 4, PATCH, narrow, narrow).eval()
    canvas, hidden = torch.randn(3, 10, 32, 32), torch.zeros(10, 4, 4, dtype=torch.bool)
    hidden[1:, 1:3, 1:3] = True
    places = [Window(f, 0, 0) for f in (0, 1, 2, 3, 5, 6)]
    whole = BlendedWindows(model, canvas, make_batches(hidden, places, GRID, 2, 8))
    expected = whole.sample(canvas)

    first = BlendedWindows(
        model,
        canvas[:, :6],
        make_batches(hidden[:6], [Window(f, 0, 0) for f in (0, 1, 2)], GRID, 2, 8),
        shared=3,
    )
    ahead = first.sample(canvas[:, :6])
    later = make_batches(hidden[3:], [Window(f, 0, 0) for f in (0, 2, 3)], GRID, 2, 8)
    second = BlendedWindows(model, canvas[:, 3:], later, before=first.predictions_ahead)
    torch.testing.assert_close(second.weight, whole.weight[3:])
    torch.testing.assert_close(ahead[:, :3], expected[:, :3], atol=1e-5, rtol=0)
    torch.testing.assert_close(second.sample(canvas[:, 3:]), expected[:, 3:], atol=2e-3, rtol=0)
    untied = BlendedWindows(model, canvas[:, 3:], later).sample(canvas[:, 3:])
    assert float((untied - expected[:, 3:]).abs().max()) > 0.02
