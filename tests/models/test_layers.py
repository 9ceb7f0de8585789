"""Attention written out is attention fused; positions fit other grids."""

import pytest
import torch

from diffmae_video.models import layers
from diffmae_video.models.layers import CrossAttention, SelfAttention, is_explicit_faster


def test_where_attention_is_written_out():
    assert is_explicit_faster(torch.zeros(1, dtype=torch.bfloat16), 1536)
    assert not is_explicit_faster(torch.zeros(1, dtype=torch.bfloat16), 1537)
    assert not is_explicit_faster(torch.zeros(1), 10)


@pytest.mark.parametrize("kind", ["self", "cross"])
def test_written_out_and_fused_are_the_same_function(monkeypatch, kind):
    x, context = torch.randn(2, 9, 32, requires_grad=True), torch.randn(2, 5, 24)
    attention = SelfAttention(32, 4, qkv_bias=True) if kind == "self" else CrossAttention(32, 24, 4)
    results = []
    for explicit in (True, False):
        monkeypatch.setattr(layers, "is_explicit_faster", lambda *_, explicit=explicit: explicit)
        out = attention(x) if kind == "self" else attention(x, attention.keys_values(context))
        results.append((out, torch.autograd.grad(out.square().sum(), x)[0]))
    torch.testing.assert_close(results[0], results[1])


def test_cross_attention_is_a_slow_loop():
    attention = CrossAttention(8, 6, 2)
    x, context = torch.randn(1, 3, 8), torch.randn(1, 4, 6)
    q, (k, v) = attention.q(x)[0], attention.kv(context)[0].split(8, dim=-1)
    out = torch.zeros(3, 8)
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        for i in range(3):
            weights = torch.stack([q[i, part] @ k[j, part] / 2 for j in range(4)]).softmax(0)
            out[i, part] = sum(w * v[j, part] for j, w in enumerate(weights))
    torch.testing.assert_close(attention(x, attention.keys_values(context))[0], attention.proj(out))


def test_an_empty_batch_goes_through_attention():
    assert SelfAttention(32, 4, qkv_bias=True)(torch.zeros(0, 6, 32)).shape == (0, 6, 32)
    attention = CrossAttention(32, 24, 4)
    assert attention(torch.zeros(0, 6, 32), attention.keys_values(torch.zeros(0, 5, 24))).shape == (0, 6, 32)
