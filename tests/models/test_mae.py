"""MAE: one pass from the visible patches."""

import torch

from diffmae_video import Mask
from diffmae_video.tokens import patchify
from tests.models.masked_autoencoders import build


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
