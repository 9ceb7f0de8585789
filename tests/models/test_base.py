"""The contract: what a step draws, and that the methods of all objectives can be called alike."""

import pytest
import torch

from diffmae_video import InputError, Mask
from diffmae_video.data import normalise
from diffmae_video.models import ADM, DDPM, IGPT, MAE, load_inpainter
from diffmae_video.models.base import PretrainingModel
from tests.models.denoising_models import adm, ddpm
from tests.random_numbers import RandomNumbers
from tests.tiny_models import tiny_diffmae

SIZE, PATCH = (16, 16), (1, 4, 4)
VIT = {"width": 32, "depth": 2, "heads": 2}
PIXELS = 3 * 16 * 16
MASKED, VALUES = 12, 48  # patches at a ratio of 0.75, and numbers in a patch
UNET = {"width": 32, "multipliers": [1, 2], "resnets": 1, "attention": [8], "head_width": 32}


def build(objective):
    """A tiny model for pictures of 16 x 16, in evaluation mode."""
    mask = {"kind": "random", "ratio": 0.75}
    if objective == "diffmae":
        return tiny_diffmae(frames=1, size=SIZE, patch=PATCH, mask=mask)
    if objective == "mae":
        return MAE(SIZE, 1, PATCH, VIT, VIT, mask).eval()
    if objective == "ddpm":
        return DDPM(SIZE, 1, PATCH, VIT).eval()
    if objective == "adm":
        return ADM(SIZE, 1, PATCH, UNET).eval()
    model = IGPT(SIZE, 1, PATCH, {**VIT, "colours": 8}).eval()
    model.encoder.set_palette(torch.randint(0, 256, (8, 3)).float())
    return model


OBJECTIVES = ("diffmae", "mae", "ddpm", "adm", "igpt")
# Random numbers for one clip: a mask's order over 16 patches, a timestep, and the noise
DRAWN = {
    "diffmae": 16 + 1 + MASKED * VALUES,
    "mae": 16,
    "ddpm": 1 + PIXELS,
    "adm": 1 + PIXELS,
    "igpt": 0,
}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_forward_draws_what_the_objective_reads_and_nothing_else(objective):
    model, clip = build(objective).train(), torch.randn(2, 3, 1, *SIZE)
    with RandomNumbers() as drawn:
        model(clip, generator=torch.Generator().manual_seed(0))
    assert drawn.count == 2 * DRAWN[objective]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_forward_draws_nothing_that_it_is_given(objective):
    model, clip = build(objective).train(), torch.randn(2, 3, 1, *SIZE)
    mask, t = Mask.random(2, model.grid, 0.75), torch.tensor([3, 700])
    shape = model.noise_shape(clip, mask)
    noise = None if shape is None else torch.randn(2, *shape)
    with RandomNumbers() as drawn:
        loss = model(clip, mask, t, noise).loss
    assert drawn.count == 0
    assert torch.equal(model(clip, mask, t, noise).loss, loss)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_order_of_draws_is_mask_timestep_noise(objective):
    """Runs that draw in forward must repeat across versions."""
    model, clip = build(objective), torch.randn(2, 3, 1, *SIZE)
    out = model(clip, generator=torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    mask = t = noise = None
    if objective in ("diffmae", "mae"):
        mask = Mask.random(2, model.grid, 0.75, generator)
    if objective in ("diffmae", "ddpm", "adm"):
        t = torch.randint(1, 1001, (2,), generator=generator)
        shape = (MASKED, VALUES) if objective == "diffmae" else (3, 1, *SIZE)
        noise = torch.randn(2, *shape, generator=generator)
    assert torch.equal(model(clip, mask, t, noise).loss, out.loss)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_inpainting_is_one_call_for_all_objectives(objective):
    model, clip = build(objective), torch.randn(2, 3, 1, *SIZE)
    mask = Mask.random(2, model.grid, 0.75)
    hidden = mask.to_pixels(model.patch).expand_as(clip)
    result = model.inpaint(clip, mask, steps=2, seed=1, return_steps=True, num_samples=2)
    assert result.clip.shape == (4, 3, 1, *SIZE)
    assert result.steps.shape == (len(result.timesteps), 4, 3, 1, *SIZE)
    assert torch.equal(result.steps[-1], result.clip)
    for i in range(4):
        assert torch.equal(result.clip[i][~hidden[i // 2]], clip[i // 2][~hidden[i // 2]])
    last = list(model.inpaint_steps(clip, mask, steps=2, seed=1))[-1][1]
    assert torch.equal(model.paste(clip, mask, last), model.inpaint(clip, mask, steps=2, seed=1).clip)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_previews_are_clips_of_the_same_size(objective):
    model, clip = build(objective), torch.randn(1, 3, 1, *SIZE)
    previews = model.previews(clip, Mask.random(1, model.grid, 0.75), steps=2)
    assert previews
    assert {shown.shape for shown in previews.values()} == {clip.shape}
    assert model.generates == ("generated" in previews)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_models_trained_on_whole_clips_encode_no_part_of_one(objective):
    model, clip = build(objective), torch.randn(1, 3, 1, *SIZE)
    tokens = model.encode(clip)
    assert tokens.shape[2] == model.backbone().width
    mask = Mask.random(1, model.grid, 0.75)
    if objective in ("adm", "igpt"):
        with pytest.raises(InputError, match="trained on whole clips"):
            model.encode(clip, mask)
    else:
        assert model.encode(clip, mask).shape == (1, 4, 32)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_only_masked_autoencoders_in_pixels_are_loaded_as_inpainters(objective, tmp_path):
    model = build(objective)
    model.save_pretrained(tmp_path)
    if objective in ("diffmae", "mae"):
        assert type(load_inpainter(tmp_path)) is type(model)
        return
    with pytest.raises(InputError, match=f": {type(model).__name__} does not predict masked"):
        load_inpainter(tmp_path)
    with pytest.raises(InputError, match="does not predict masked patches"):
        model.predictor(torch.randn(1, 3, 1, *SIZE), Mask.random(1, model.grid, 0.75))


@pytest.mark.parametrize(
    "build_one", [lambda: tiny_diffmae(normalize_target=True), lambda: build("mae").encoder]
)
def test_what_cannot_render_is_no_inpainter(build_one, tmp_path):
    build_one().save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"cannot be rendered|which does not inpaint"):
        load_inpainter(tmp_path)


@torch.no_grad()
@pytest.mark.parametrize("objective", ["diffmae", "mae"])
def test_the_predictor_encodes_once_and_predicts_for_each_sample(objective):
    model, clip = build(objective), torch.randn(2, 3, 1, *SIZE)
    mask = Mask.random(2, model.grid, 0.75)
    calls = []
    model.encoder.blocks[0].register_forward_hook(lambda *_: calls.append(1))
    predict = model.predictor(clip, mask, num_samples=3)
    noised, t = torch.randn(6, MASKED, VALUES), torch.full((6,), 400)
    both = [predict(noised, t) for _ in range(2)]
    assert len(calls) == 1
    assert torch.equal(*both)
    assert both[0].shape == noised.shape
    single = model.predictor(clip[1:], Mask(mask.visible[1:], mask.masked[1:], mask.grid))
    torch.testing.assert_close(both[0][4:5], single(noised[4:5], t[4:5]), atol=1e-5, rtol=0)


def test_a_model_without_an_objective_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        PretrainingModel(build("mae").encoder, (0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize(
    "model",
    [
        tiny_diffmae("cross", mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)),
        tiny_diffmae("joint", normalize_target=True),
        MAE(
            (32, 32),
            4,
            (2, 8, 8),
            {"width": 32, "depth": 2, "heads": 2},
            {"width": 32, "depth": 1, "heads": 2},
        ),
        ddpm(),
        adm("x0"),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_clip_as_it_was_decoded_is_normalised_by_the_model(model):
    model.double().train()
    draw = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (2, *model.clip_size, 3), dtype=torch.uint8, generator=draw)
    inputs = {"generator": torch.Generator().manual_seed(1)}
    decoded = model(frames.movedim(-1, 1), **inputs)
    decoded.loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    inputs["generator"].manual_seed(1)
    normalised = model(normalise(frames, model.mean, model.std), **inputs)
    normalised.loss.backward()
    torch.testing.assert_close(decoded.loss, normalised.loss, rtol=1e-5, atol=0)
    torch.testing.assert_close(decoded.prediction, normalised.prediction, rtol=1e-4, atol=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, model.get_parameter(name).grad, rtol=1e-3, atol=1e-6)
