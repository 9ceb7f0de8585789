"""The precision of models that sample."""

import pytest
import torch

from diffmae_video import InputError
from diffmae_video.masks import Mask
from diffmae_video.runtime.device import for_sampling, sampling_dtype
from tests.tiny_models import tiny_diffmae

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("choice", "supported", "dtype"), [("auto", True, "bfloat16"), ("auto", False, "float32")]
)
def test_a_gpu_samples_in_bf16_if_it_computes_in_it(monkeypatch, choice, supported, dtype):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: supported)
    assert sampling_dtype(choice, torch.device("cuda")) == getattr(torch, dtype)


def test_a_cpu_samples_in_float32_by_default():
    assert sampling_dtype("auto", CPU) == torch.float32
    assert sampling_dtype("bf16", CPU) == torch.bfloat16
    with pytest.raises(InputError, match="precision 'fp16': choose from auto, bf16, fp32"):
        sampling_dtype("fp16", CPU)


@pytest.mark.parametrize("kind", ["joint", "cross_self", "cross"])
def test_bf16_weights_change_a_fill_little_and_x_t_stays_in_float32(kind):
    torch.manual_seed(0)
    model = tiny_diffmae(kind)
    clip = torch.randn(2, 3, 4, 32, 32)
    mask = Mask.random(2, model.grid, 0.75, torch.Generator().manual_seed(1))
    exact = model.inpaint(clip, mask, steps=8)
    rounded = for_sampling(model, "bf16").inpaint(clip, mask, steps=8, return_steps=True)
    assert rounded.clip.dtype == rounded.steps.dtype == torch.float32
    hidden = mask.to_pixels(model.patch).expand_as(clip)
    assert torch.equal(rounded.clip[~hidden], clip[~hidden])
    change = (rounded.clip - exact.clip)[hidden].square().mean().sqrt()
    assert 0 < change < 0.02 * exact.clip[hidden].std()
