"""Rotary positions in every model that takes positions, and a timestep per token."""

import pytest
import torch

from diffmae_video.errors import InputError
from diffmae_video.masks import Mask
from diffmae_video.models import DDPM, MAE, DiffMAE
from diffmae_video.models.layers import TimestepEmbedding
from tests.tiny_models import tiny_diffmae

ROPE = {"encoder": {"positions": "rope"}, "decoder": {"positions": "rope"}}
GRID = (4, 6, 6)


def rope_diffmae(kind: str, **kwargs) -> DiffMAE:
    return tiny_diffmae(kind, frames=8, size=(48, 48), **ROPE, **kwargs)


def moved(mask: Mask, steps: int, rows: int, columns: int) -> Mask:
    """The mask with every token moved; the tokens must stay inside the grid."""
    shift = (steps * GRID[1] + rows) * GRID[2] + columns
    return Mask(mask.visible + shift, mask.masked + shift, mask.grid)


def clip_of(patches: torch.Tensor, mask: Mask) -> torch.Tensor:
    """A clip that holds patches [1, V + M, P] at the mask's tokens."""
    from diffmae_video.tokens import unpatchify

    whole = torch.zeros(1, 4 * 6 * 6, patches.shape[-1])
    whole.scatter_(1, mask.tokens[..., None].expand_as(patches), patches)
    return unpatchify(whole, GRID, (2, 8, 8))


@pytest.fixture
def corner() -> Mask:
    """Half of the 2 x 3 x 3 tokens in the first corner are visible, and half are masked."""
    places = torch.tensor(
        [(t * 6 + row) * 6 + column for t in range(2) for row in range(3) for column in range(3)]
    )
    return Mask(places[::2][None], places[1::2][None], GRID)


@pytest.mark.parametrize("kind", ["cross", "cross_self", "joint"])
def test_moving_all_tokens_changes_no_prediction(kind, corner):
    model = rope_diffmae(kind)
    patches, xt = torch.randn(1, 18, 384), torch.randn(1, 9, 384)
    predictions = []
    for mask in (corner, moved(corner, 2, 3, 2)):
        latents = model.encode_latents(clip_of(patches, mask), mask)
        predictions.append(model.denoise(xt, torch.tensor([300]), latents, mask))
    torch.testing.assert_close(predictions[0], predictions[1], atol=1e-4, rtol=1e-4)


def test_moving_all_tokens_changes_no_prediction_of_mae(corner):
    encoder = {"width": 32, "depth": 2, "heads": 2, "positions": "rope"}
    decoder = {"width": 32, "depth": 2, "heads": 2, "positions": "rope"}
    model = MAE((48, 48), 8, (2, 8, 8), encoder, decoder).eval()
    patches = torch.randn(1, 18, 384)
    first, second = (model.predict(clip_of(patches, m), m) for m in (corner, moved(corner, 1, 3, 1)))
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["cross", "cross_self", "joint"])
def test_places_matter(kind, corner):
    """The same patches at other distances give another prediction."""
    model = rope_diffmae(kind)
    stretched = Mask(corner.visible, moved(corner, 2, 3, 3).masked, GRID)
    patches, xt = torch.randn(1, 18, 384), torch.randn(1, 9, 384)
    predictions = []
    for mask in (corner, stretched):
        latents = model.encode_latents(clip_of(patches, mask), mask)
        predictions.append(model.denoise(xt, torch.tensor([300]), latents, mask))
    assert (predictions[0] - predictions[1]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["cross", "cross_self", "joint"])
def test_another_grid_needs_no_table(kind):
    model = rope_diffmae(kind)
    assert not [name for name in model.state_dict() if "position" in name]
    clip = torch.randn(1, 3, 12, 64, 32)
    assert model.inpaint(clip, Mask.random(1, (6, 8, 4), 0.5), steps=2).clip.shape == clip.shape
    assert model.encode(clip).shape == (1, 6 * 8 * 4, 32)


def test_keys_of_the_visible_latents_stay_cached(monkeypatch):
    model = rope_diffmae("cross")
    calls = []
    for block in model.decoder.blocks:
        monkeypatch.setattr(
            block.cross.kv, "forward", lambda x, f=block.cross.kv.forward: calls.append(1) or f(x)
        )
    model.inpaint(torch.randn(1, 3, 8, 48, 48), Mask.random(1, GRID, 0.75), steps=5)
    assert len(calls) == len(model.decoder.blocks)


def test_ddpm_turns_its_patches_and_not_its_timestep():
    encoder = {"width": 32, "depth": 2, "heads": 2, "positions": "rope"}
    model = DDPM((48, 48), 8, (2, 8, 8), encoder).eval()
    clip = torch.randn(2, 3, 8, 48, 48)
    torch.testing.assert_close(model.backbone().eval()(clip), model.encode(clip), atol=1e-5, rtol=1e-5)


def test_a_saved_model_loads_with_its_positions(tmp_path):
    from diffmae_video import load_encoder, load_model

    model = rope_diffmae("cross")
    model.save_pretrained(tmp_path)
    clip = torch.randn(1, 3, 8, 48, 48)
    torch.testing.assert_close(load_model(tmp_path).encode(clip), model.encode(clip))
    other = torch.randn(1, 3, 4, 64, 64)
    encoder = load_encoder(tmp_path, image_size=(64, 64), num_frames=4)
    torch.testing.assert_close(encoder(other), model.encode(other))


def test_formats_without_rotary_positions_refuse_them(tmp_path):
    from diffmae_video.models.weights.convert import save_as

    for to, reason in (("timm", "has rotary ones"), ("hf-videomae", "was trained with rope")):
        with pytest.raises(InputError, match=reason) as refusal:
            save_as(rope_diffmae("cross").encoder, tmp_path / to, to)
        assert str(refusal.value).endswith("convert it to diffmae, onnx or torch-export")


# --- unevenly spaced frames -------------------------------------------------------------------

STEPS = [0, 1, 3]  # of 4: the clip that is left has a gap
UNEVEN = torch.tensor([[0.0, 1.0, 3.0]])


def without_the_gap(mask: Mask) -> Mask:
    """The mask of the three time steps on their own; those that it leaves out have no token in ``mask``."""
    hidden = torch.ones(mask.batch, 4, 6, 6).bool().flatten(1).scatter(1, mask.visible, False)
    return Mask.from_bool(hidden.view(-1, 4, 6, 6)[:, STEPS])


@pytest.fixture
def gap() -> tuple[torch.Tensor, Mask]:
    """A clip, and a mask of it none of whose tokens lie in the third of the four time steps."""
    part = Mask.random(2, (3, 6, 6), 0.75)
    step = torch.tensor(STEPS)
    visible, masked = (step[index // 36] * 36 + index % 36 for index in (part.visible, part.masked))
    return torch.randn(2, 3, 8, 48, 48), Mask(visible, masked, GRID)


def test_frames_with_a_gap_are_seen_as_in_the_whole_clip(gap):
    clip, mask = gap
    model, frames = rope_diffmae("cross"), clip.unflatten(2, (4, 2))[:, :, STEPS].flatten(2, 3)
    part = without_the_gap(mask).at(UNEVEN)
    expected = model.encode(clip, mask)
    torch.testing.assert_close(model.encode(frames, part), expected, atol=1e-5, rtol=1e-5)
    assert (model.encode(frames, without_the_gap(mask)) - expected).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["cross", "cross_self", "joint"])
def test_a_gap_is_filled_as_in_the_whole_clip(kind, gap):
    clip, mask = gap
    model, frames = rope_diffmae(kind), clip.unflatten(2, (4, 2))[:, :, STEPS].flatten(2, 3)
    part, noise = without_the_gap(mask), torch.randn(*mask.masked.shape, 384)
    t = torch.tensor([300, 900])
    expected = model(clip, mask, t, noise)
    found = model(frames, part, t, noise, times=UNEVEN)
    torch.testing.assert_close(found.prediction, expected.prediction, atol=1e-4, rtol=1e-4)
    assert (model(frames, part, t, noise).prediction - expected.prediction).abs().max() > 1e-3
    filled = model.inpaint(frames, part, steps=3, times=UNEVEN, num_samples=2).clip
    torch.testing.assert_close(filled, model.inpaint(frames, part.at(UNEVEN), steps=3, num_samples=2).clip)
    assert (filled - model.inpaint(frames, part, steps=3, num_samples=2).clip).abs().max() > 1e-3


def test_mae_fills_a_gap_as_in_the_whole_clip(gap):
    clip, mask = gap
    encoder = {"width": 32, "depth": 2, "heads": 2, "positions": "rope"}
    model = MAE((48, 48), 8, (2, 8, 8), encoder, {**encoder, "depth": 1}).eval()
    frames = clip.unflatten(2, (4, 2))[:, :, STEPS].flatten(2, 3)
    found = model(frames, without_the_gap(mask), times=UNEVEN).prediction
    torch.testing.assert_close(found, model.predict(clip, mask), atol=1e-4, rtol=1e-4)


def test_every_clip_has_its_own_times():
    model, mask = rope_diffmae("cross"), Mask.random(2, (3, 6, 6), 0.5)
    clip, times = torch.randn(2, 3, 6, 48, 48), torch.tensor([[0.0, 1.0, 3.0], [0.0, 2.0, 7.5]])
    together = model.encode(clip, mask.at(times))
    for i in range(2):
        alone = Mask(mask.visible[i : i + 1], mask.masked[i : i + 1], mask.grid).at(times[i : i + 1])
        torch.testing.assert_close(
            model.encode(clip[i : i + 1], alone), together[i : i + 1], atol=1e-5, rtol=1e-5
        )


def test_a_share_of_the_patches_is_decoded_at_their_times():
    model = rope_diffmae("cross", decode_fraction=0.5)
    clip, mask = torch.randn(1, 3, 6, 48, 48), Mask.random(1, (3, 6, 6), 0.75)
    noise, t = torch.randn(*mask.masked.shape, 384), torch.tensor([500])
    whole = model(clip, mask, t, noise, times=UNEVEN).prediction
    part = model.train()(clip, mask, t, noise, times=UNEVEN)
    chosen = (mask.masked[0][:, None] == part.decoded[0]).any(1)
    torch.testing.assert_close(part.prediction[0], whole[0][chosen], atol=1e-5, rtol=1e-5)


def test_only_rotary_positions_and_masked_models_take_times():
    clip, mask = torch.randn(1, 3, 6, 48, 48), Mask.random(1, (3, 6, 6), 0.5)
    with pytest.raises(InputError, match="unevenly spaced frames need a model with POSITIONS rope"):
        tiny_diffmae("cross", frames=6, size=(48, 48))(clip, mask, times=UNEVEN)
    encoder = {"width": 32, "depth": 2, "heads": 2, "positions": "rope"}
    ddpm = DDPM((48, 48), 6, (2, 8, 8), encoder)
    with pytest.raises(InputError, match="DDPM takes evenly spaced frames only"):
        ddpm(clip, times=UNEVEN)
    with pytest.raises(InputError, match="DDPM takes evenly spaced frames only"):
        ddpm.inpaint(clip, mask, times=UNEVEN)


# --- a timestep per token ---------------------------------------------------------------------


def test_a_token_is_denoised_by_its_own_timestep():
    model, clip = rope_diffmae("cross"), torch.randn(2, 3, 8, 48, 48)
    mask = Mask.random(2, GRID, 0.75)
    latents, xt = model.encode_latents(clip, mask), torch.randn(2, mask.masked.shape[1], 384)
    t = torch.randint(1, 1001, mask.masked.shape)
    together = model.denoise(xt, t, latents, mask)
    for token in (0, 50, 107):
        alone = model.denoise(xt, t[:, token], latents, mask)
        torch.testing.assert_close(together[:, token], alone[:, token], atol=1e-5, rtol=1e-5)


def test_equal_timesteps_give_the_loss_of_one_per_clip():
    model, clip = rope_diffmae("cross", token_timesteps=True), torch.randn(2, 3, 8, 48, 48)
    mask, t = Mask.random(2, GRID, 0.75), torch.tensor([40, 900])
    noise = torch.randn(2, mask.masked.shape[1], 384)
    per_clip = model(clip, mask, t, noise).loss
    per_token = model(clip, mask, t[:, None].expand_as(mask.masked), noise).loss
    torch.testing.assert_close(per_token, per_clip, atol=1e-6, rtol=1e-6)


def test_the_gradient_has_the_same_mean_and_varies_less():
    """At fixed weights: mean and variance of a gradient over draws of t and noise."""
    model, clip = rope_diffmae("cross").train(), torch.randn(1, 3, 8, 48, 48).clamp(-1, 1)
    mask = Mask.random(1, GRID, 0.75)
    gradients = {}
    for per_token in (False, True):
        model.token_timesteps = per_token
        generator, found = torch.Generator().manual_seed(1), []
        for _ in range(150):
            model.zero_grad()
            model(clip, mask, generator=generator).loss.backward()
            found.append(model.decoder.head.weight.grad.flatten().clone())
        gradients[per_token] = torch.stack(found)
    variance = {key: g.var(0).sum().item() for key, g in gradients.items()}
    assert variance[True] < 0.8 * variance[False]  # an untrained model; after training far less
    distance = (gradients[True].mean(0) - gradients[False].mean(0)).pow(2).sum().item()
    assert distance < 3 * (variance[True] + variance[False]) / 150  # the error of two means of 150 draws


def test_the_table_of_timesteps_is_the_embedding_itself():
    embedding, t = TimestepEmbedding(32, 1000), torch.randint(1, 1001, (3, 7))
    expected = torch.stack([embedding(row) for row in t])
    torch.testing.assert_close(embedding(t), expected)


@pytest.mark.parametrize("kind", ["cross_self", "joint"])
def test_only_the_cross_decoder_takes_a_timestep_per_token(kind):
    with pytest.raises(InputError, match="token_timesteps needs the cross decoder"):
        rope_diffmae(kind, token_timesteps=True)


def test_a_share_of_the_patches_keeps_their_timesteps():
    model = rope_diffmae("cross", token_timesteps=True, decode_fraction=0.5).train()
    clip, mask = torch.randn(2, 3, 8, 48, 48), Mask.random(2, GRID, 0.75)
    t = torch.randint(1, 1001, mask.masked.shape)
    noise = torch.randn(*mask.masked.shape, 384)
    output = model(clip, mask, t, noise)
    order = (mask.masked[:, :, None] == output.decoded[:, None]).float().argmax(1)
    subset = Mask(mask.visible, output.decoded, mask.grid)
    model.decode_fraction = 1.0
    noise = noise.gather(1, order[..., None].expand(-1, -1, 384))
    expected = model(clip, subset, t.gather(1, order), noise)
    torch.testing.assert_close(output.loss, expected.loss)
