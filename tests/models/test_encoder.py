"""The encoder embeds visible patches only."""

import torch

from diffmae_video import Mask
from diffmae_video.models import Encoder
from diffmae_video.tokens import gather_tokens


@torch.no_grad()
def test_the_encoder_sees_visible_patches_only():
    encoder = Encoder((32, 32), 4, (2, 8, 8), width=32, depth=2, heads=2).eval()
    clip, mask = torch.randn(2, 3, 4, 32, 32), Mask.random(2, (2, 4, 4), 0.75)
    tokens = encoder(clip, mask)
    assert tokens.shape == (2, 8, 32)
    hidden = mask.to_pixels(encoder.patch).expand_as(clip)
    assert torch.equal(encoder(torch.where(hidden, torch.nan, clip), mask), tokens)
    assert encoder(clip).shape == (2, 32, 32)
    # Visible tokens keep the positions and the order that they have in the full clip.
    torch.testing.assert_close(encoder.embed(clip, mask), gather_tokens(encoder.embed(clip), mask.visible))


@torch.no_grad()
def test_the_class_token_comes_through_the_norm_and_is_no_patch_token():
    encoder = Encoder((32, 32), 4, (2, 8, 8), width=32, depth=2, heads=2, class_token=True).eval()
    clip = torch.randn(2, 3, 4, 32, 32)
    tokens, class_token = encoder.tokens_and_class_token(clip)
    assert torch.equal(tokens, encoder(clip))
    x = encoder.embed(clip)
    for block in encoder.blocks:
        x = block(x)
    torch.testing.assert_close(class_token, encoder.norm(x)[:, 0])
