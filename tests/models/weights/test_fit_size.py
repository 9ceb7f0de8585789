"""Encoders for other sizes: images to videos and back, and resampled positions."""

import json

import pytest
import torch
from timm.layers import resample_abs_pos_embed

from diffmae_video import load_encoder
from diffmae_video.models import Encoder
from tests.models.weights.reference_vit import (
    DEPTH,
    HEADS,
    LAYOUTS,
    D,
    Reference,
    close,
    hf_weights,
    mae_st_weights,
    mae_weights,
    save,
    videomae_reference,
)


@pytest.mark.parametrize(("frames", "patch"), [(4, 2), (6, 2), (3, 1)])
@pytest.mark.parametrize("ours", [False, True])
def test_a_still_clip_embeds_as_the_image_does(tmp_path, frames, patch, ours):
    if ours:
        path = tmp_path
        Encoder((32, 32), 1, (1, 8, 8), D, DEPTH, HEADS, class_token=True).save_pretrained(path)
    else:
        path = save(tmp_path / "w.pt", mae_weights(Reference(t=1, steps=1, cls=True)))
    # in double precision: another batch of the same rows may be rounded in another order
    image, video = (load_encoder(path, num_heads=HEADS, num_frames=n).double() for n in (1, frames))
    assert video.patch == (patch, 8, 8)
    picture = torch.randn(2, 3, 32, 32).double()
    clip = picture[:, :, None].expand(-1, -1, frames, -1, -1)
    expected = image.embed(picture[:, :, None])
    embedded = video.embed(clip)
    torch.testing.assert_close(embedded[:, :1], expected[:, :1], rtol=0, atol=0)  # the class token
    steps = embedded[:, 1:].unflatten(1, (*video.grid[:1], -1))
    torch.testing.assert_close(steps, expected[:, None, 1:].expand_as(steps), rtol=0, atol=1e-6)
    # and back: nothing is lost
    video.float().save_pretrained(tmp_path / "video")
    again = load_encoder(tmp_path / "video", num_frames=1).double()
    torch.testing.assert_close(again(picture), image(picture), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("layout", ["mae_st", "mae_st joint", "videomae"])
def test_a_video_model_as_an_image_model_sees_a_still_clip(tmp_path, layout):
    path = save(tmp_path / "w.pt", LAYOUTS[layout]())
    video = load_encoder(path, num_heads=HEADS, image_size=32, num_frames=16 if layout == "videomae" else 4)
    image = load_encoder(path, num_heads=HEADS, image_size=32, num_frames=1)
    assert (image.patch, image.grid) == ((1, 8, 8), (1, 4, 4))
    picture = torch.randn(2, 3, 32, 32)
    still = picture[:, :, None].expand(-1, -1, 2, -1, -1)
    close(image(picture), video(still))
    torch.testing.assert_close(image.patch_embed.weight.sum(1), video.patch_embed.weight.sum(1))


@pytest.mark.parametrize("cls", [False, True])
def test_positions_are_resampled_to_other_sizes(tmp_path, cls):
    ref = Reference(cls=cls)
    path = save(tmp_path / "w.pt", mae_st_weights(ref))
    encoder = load_encoder(path, image_size=(24, 48), num_frames=8, num_heads=HEADS)
    assert encoder.grid == (4, 3, 6)
    space = resample_abs_pos_embed(ref.spatial, [3, 6], [4, 4], num_prefix_tokens=0)[0]
    first, last = ref.temporal[0]
    time = torch.stack([first, 0.75 * first + 0.25 * last, 0.25 * first + 0.75 * last, last])
    expected = (time[:, None] + space).flatten(0, 1)
    close(encoder.positions(encoder.grid)[0], expected)
    assert encoder(torch.randn(1, 3, 8, 24, 48)).shape == (1, 72, D)
    if cls:
        close(encoder.cls_token, ref.cls + ref.cls_position)


def test_one_table_is_resampled_time_step_by_time_step(tmp_path):
    ref = Reference(separable=False)
    path = save(tmp_path / "w.pt", mae_st_weights(ref, separable=False))
    encoder = load_encoder(path, image_size=48, num_frames=4, num_heads=HEADS)
    steps = ref.table.view(2, 1, 16, D)
    expected = [resample_abs_pos_embed(step, [6, 6], [4, 4], num_prefix_tokens=0)[0] for step in steps]
    close(encoder.positions(encoder.grid)[0], torch.cat(expected))


@pytest.mark.parametrize("kind", ["sincos", "sharp", "sinusoid", "joint", "learned"])
@pytest.mark.parametrize(
    "sizes", [{"num_frames": 8}, {"image_size": 48}, {"image_size": 16, "num_frames": 2}]
)
def test_another_size_gives_what_the_trained_encoder_gives_there(tmp_path, kind, sizes):
    trained = Encoder((32, 32), 4, (2, 8, 8), D, DEPTH, HEADS, positions=kind).eval()
    trained.save_pretrained(tmp_path)
    clip = torch.randn(1, 3, sizes.get("num_frames", 4), *[sizes.get("image_size", 32)] * 2)
    close(load_encoder(tmp_path, **sizes)(clip), trained(clip))


def test_a_pooling_model_of_hf_at_another_size_keeps_its_trained_positions(tmp_path):
    ref = videomae_reference()
    save(tmp_path / "model.safetensors", hf_weights(ref))
    config = {"image_size": 32, "num_frames": 4, "num_attention_heads": HEADS}
    (tmp_path / "config.json").write_text(json.dumps(config))
    encoder = load_encoder(tmp_path, num_frames=2)
    middle = ref.table.view(2, 16, D).mean(0)
    close(encoder.positions(encoder.grid)[0], middle)
