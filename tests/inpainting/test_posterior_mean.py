"""The mean of several samples against samples drawn one by one."""

import torch

from diffmae_video import Mask
from diffmae_video.inpainting.posterior_mean import posterior_mean
from tests.tiny_models import tiny_diffmae


def test_it_is_the_mean_of_different_samples_and_keeps_what_is_visible():
    model, clip = tiny_diffmae(), torch.randn(2, 3, 4, 32, 32)
    mask = Mask.random(2, (2, 4, 4), 0.75, torch.Generator().manual_seed(0))
    one, two, four = (posterior_mean(model, clip, mask, count, steps=3, seed=5) for count in (1, 2, 4))
    second = 2 * two - one
    assert (second - one)[mask.to_pixels(model.patch).expand_as(clip)].abs().mean() > 0.1
    assert torch.equal(four, posterior_mean(model, clip, mask, 4, steps=3, seed=5))
    assert not torch.equal(four, posterior_mean(model, clip, mask, 4, steps=3, seed=6))
    visible = ~mask.to_pixels(model.patch).expand_as(clip)
    torch.testing.assert_close(four[visible], clip[visible])
    hidden = ~visible
    assert four[hidden].std() < one[hidden].std()
