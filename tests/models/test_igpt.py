"""iGPT against transformers' own on the same weights, its colours, and its completion of a known chain."""

from types import SimpleNamespace

import pytest
import torch
from transformers import ImageGPTConfig, ImageGPTForCausalImageModeling

from diffmae_video import InputError, Mask, load_encoder, load_model
from diffmae_video.models import IGPT

GPT = {"width": 32, "depth": 4, "heads": 2, "colours": 16}


def igpt(colours=16, **encoder):
    model = IGPT((8, 8), 1, (1, 4, 4), {**GPT, "colours": colours, **encoder}).eval()
    model.encoder.set_palette(torch.randint(0, 256, (colours, 3)).float())
    torch.nn.init.normal_(model.encoder.head.weight, std=0.5)
    return model


def test_it_is_transformers_image_gpt():
    model = igpt()
    peer = ImageGPTForCausalImageModeling(
        ImageGPTConfig(vocab_size=17, n_positions=64, n_embd=32, n_layer=4, n_head=2)
    ).eval()
    peer.transformer.load_state_dict(model.encoder.gpt.state_dict())
    peer.lm_head = model.encoder.head
    tokens = torch.randint(0, 16, (2, 64))
    clip = model.encoder.pictures_of_tokens(tokens)
    start = torch.full((2, 1), 16)
    read = torch.cat([start, tokens[:, :-1]], dim=1)
    expected = peer(read, output_hidden_states=True)
    out = model(clip)
    torch.testing.assert_close(out.prediction, expected.logits, atol=1e-5, rtol=1e-5)
    # transformers shifts its labels once more: it never asks for the first pixel
    full = peer(torch.cat([start, tokens[:, :-1]], 1), labels=read).loss
    later = torch.nn.functional.cross_entropy(out.prediction[:, :-1].flatten(0, 1), tokens[:, :-1].flatten())
    torch.testing.assert_close(later, full)
    middle = peer.transformer.h[2].ln_1(expected.hidden_states[2])
    torch.testing.assert_close(model.encode(clip), middle, atol=1e-5, rtol=1e-5)  # of 4 layers the second
    every = model.encoder.layer_features(clip)
    torch.testing.assert_close(every[:, 1], middle.mean(1), atol=1e-5, rtol=1e-5)
    model.encoder.set_feature_layer(4)
    torch.testing.assert_close(model.encode(clip), expected.hidden_states[-1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(every[:, 3], model.encode(clip).mean(1), atol=1e-5, rtol=1e-5)


def test_a_pixel_becomes_the_nearest_colour():
    model = igpt()
    clip = torch.randn(2, 3, 1, 8, 8)
    mean, std = (torch.tensor(x).view(3, 1, 1, 1) for x in (model.mean, model.std))
    pixels = (255 * (clip * std + mean))[:, :, 0].flatten(2).transpose(1, 2)
    distance = (pixels[:, :, None] - model.encoder.palette).norm(dim=-1)
    assert torch.equal(model.encoder.tokens_of(clip), distance.argmin(-1))
    tokens = torch.randint(0, 16, (2, 64))
    again = model.encoder.tokens_of(model.encoder.pictures_of_tokens(tokens))
    assert torch.equal(model.encoder.palette[again], model.encoder.palette[tokens])
    assert torch.equal(model.encoder.palette.bfloat16().float(), model.encoder.palette)


def test_gradients_reach_all_weights_and_it_starts_even():
    model = IGPT((8, 8), 1, (1, 4, 4), GPT).train()
    model.encoder.set_palette(torch.rand(16, 3) * 255)
    loss = model(torch.randn(2, 3, 1, 8, 8)).loss
    torch.testing.assert_close(loss, torch.tensor(16.0).log())
    torch.nn.init.normal_(model.encoder.head.weight)
    model(torch.randn(2, 3, 1, 8, 8)).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@torch.no_grad()
def test_completion_with_a_cache_is_that_without():
    model = igpt()
    hidden = torch.zeros(2, 64, dtype=torch.bool)
    hidden[:, 20:28] = hidden[:, 40:] = True
    tokens = torch.randint(0, 16, (2, 64))
    drawn = model.encoder.complete(tokens, hidden, 1e-6, torch.Generator().manual_seed(0))  # all but greedy
    slow = tokens.masked_fill(hidden, 0)
    for i in range(64):
        logits = model(model.encoder.pictures_of_tokens(slow)).prediction[:, i]
        slow[:, i] = torch.where(hidden[:, i], logits.argmax(1), slow[:, i])
    assert torch.equal(model.encoder.palette[drawn], model.encoder.palette[slow])


@torch.no_grad()
def test_samples_of_a_known_chain_have_its_transitions():
    model = igpt(colours=2)
    chances = torch.tensor([[0.9, 0.1], [0.3, 0.7], [0.5, 0.5]])  # after colour 0, 1, and at the start

    class Chain(torch.nn.Module):
        def forward(self, read, cache=None, use_cache=False):
            return SimpleNamespace(last_hidden_state=chances.log()[read])

    model.encoder.gpt, model.encoder.head = Chain(), torch.nn.Identity()
    model.encoder.set_palette(torch.tensor([[0.0, 0.0, 0.0], [255.0, 255.0, 255.0]]))
    tokens = model.encoder.tokens_of(model.sample(300).clip)
    for colour in (0, 1):
        after = tokens[:, 1:][tokens[:, :-1] == colour].float()
        assert after.mean() == pytest.approx(float(chances[colour, 1]), abs=0.02)
    cold = model.encoder.tokens_of(model.sample(50, temperature=0.25).clip)
    share = chances[0, 1] ** 4 / (chances[0] ** 4).sum()
    assert cold[:, 1:][cold[:, :-1] == 0].float().mean() == pytest.approx(float(share), abs=0.02)
    with pytest.raises(InputError, match="temperature must be above 0"):
        model.sample(1, temperature=0)


def test_inpainting_keeps_what_is_seen_and_comes_back_from_its_folder(tmp_path):
    model, clip = igpt(), torch.randn(2, 3, 1, 8, 8)
    lower = Mask.from_bool(torch.tensor([[False, False], [True, True]]).expand(2, 1, 2, 2))
    hidden = lower.to_pixels((1, 4, 4)).expand_as(clip)
    filled = model.inpaint(clip, lower).clip
    assert torch.equal(filled[~hidden], clip[~hidden])
    blank = torch.where(hidden, 7.0, clip)
    assert torch.equal(model.inpaint(blank, lower).clip, filled)
    assert model.inpaint(clip, lower, num_samples=3).clip.shape == (6, 3, 1, 8, 8)
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert torch.equal(again.encoder.palette, model.encoder.palette)
    assert torch.equal(again.inpaint(clip, lower).clip, filled)
    with pytest.raises(InputError, match="the PixelGPT of a IGPT is not a ViT"):
        load_encoder(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_frames": 4}, "igpt is for pictures: set DATA.NUM_FRAMES 1, not 4"),
        ({"encoder": {**GPT, "heads": 3}}, "width of 32 is not divisible by 3 heads"),
        ({"encoder": {**GPT, "layer": 5}}, "MODEL.IGPT.LAYER: 1 to 4"),
    ],
)
def test_what_makes_no_igpt(arguments, message):
    with pytest.raises(InputError, match=message):
        IGPT(**{"image_size": (8, 8), "num_frames": 1, "patch": (1, 4, 4), "encoder": GPT, **arguments})


def test_pictures_of_another_size_are_one_line():
    with pytest.raises(InputError, match="takes pictures of 8 x 8 pixels, got 16 x 8"):
        igpt()(torch.randn(1, 3, 1, 16, 8))
    with pytest.raises(InputError, match="only pictures of the 8 x 8 pixels"):
        igpt().encoder.resized((16, 16), 1)
