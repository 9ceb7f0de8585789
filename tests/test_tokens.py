"""Patches and positions, against slow loops and known tables."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffmae_video import InputError
from diffmae_video.tokens import (
    gather_tokens,
    grid_of,
    interleaved_sinusoid,
    patchify,
    sincos_positions,
    unpatchify,
)

grids = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))
patches = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))


@settings(max_examples=40)
@given(grids, patches, st.integers(1, 3))
def test_patchify_is_a_slow_loop_and_has_an_exact_inverse(grid, patch, batch):
    (t, h, w), (a, p, q) = grid, patch
    clip = torch.randn(batch, 3, t * a, h * p, w * q)
    cut = patchify(clip, patch)
    assert cut.shape == (batch, t * h * w, a * p * q * 3)
    for token in range(t * h * w):
        i, j, k = token // (h * w), token // w % h, token % w
        piece = clip[:, :, i * a : (i + 1) * a, j * p : (j + 1) * p, k * q : (k + 1) * q]
        assert torch.equal(cut[:, token], piece.permute(0, 2, 3, 4, 1).flatten(1))
    assert torch.equal(unpatchify(cut, grid, patch), clip)


def test_a_clip_that_does_not_divide_is_refused():
    with pytest.raises(InputError, match="height: 33 is not a multiple"):
        patchify(torch.zeros(1, 3, 2, 33, 32), (2, 16, 16))
    with pytest.raises(InputError, match=r"expected a clip \[B, C, T, H, W\]"):
        patchify(torch.zeros(3, 2, 32, 32), (2, 16, 16))
    assert grid_of((16, 224, 192), (2, 16, 16)) == (8, 14, 12)


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**31))
def test_gather_tokens_is_take_along_axis(batch, count, kept, seed):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(batch, count, 5, generator=generator)
    index = torch.randint(count, (batch, kept), generator=generator)
    expected = np.take_along_axis(tokens.numpy(), index.numpy()[..., None], axis=1)
    assert torch.equal(gather_tokens(tokens, index), torch.from_numpy(expected))


def test_gather_tokens_has_the_gradient_of_gather():
    tokens = torch.randn(2, 6, 4, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([[0, 3, 5], [1, 1, 2]])
    assert torch.autograd.gradcheck(lambda x: gather_tokens(x, index), (tokens,))


def test_sincos_positions_of_an_image_are_those_of_mae():
    # MAE's construction, spelt out: the first half of the width encodes the column.
    h, w, width = 3, 5, 16
    omega = 1 / 10000 ** (np.arange(width // 4) / (width / 4))
    for row in range(h):
        for column in range(w):
            expected = np.concatenate(
                [np.sin(column * omega), np.cos(column * omega), np.sin(row * omega), np.cos(row * omega)]
            )
            got = sincos_positions((1, h, w), width)[row * w + column].numpy()
            np.testing.assert_allclose(got, expected, atol=1e-6)


def test_an_image_has_the_positions_of_a_videos_first_time_step():
    video = sincos_positions((4, 3, 3), 32)
    torch.testing.assert_close(video[:9], sincos_positions((1, 3, 3), 32))
    assert len({tuple(row.tolist()) for row in video}) == 36  # all apart


def test_positions_of_another_grid_are_stretched_over_the_trained_one():
    small, large = (1, 4, 4), (1, 8, 8)
    fine = sincos_positions(large, 32, small).view(8, 8, 32)
    # Each coarse centre lies between two fine ones: their mean is close to it.
    middle = (fine[0::2, 0::2] + fine[1::2, 0::2] + fine[0::2, 1::2] + fine[1::2, 1::2]) / 4
    torch.testing.assert_close(middle, sincos_positions(small, 32).view(4, 4, 32), atol=0.06, rtol=0)


def test_interleaved_sinusoid_pairs_sine_and_cosine():
    table = interleaved_sinusoid(6, 8)
    for place in range(6):
        for feature in range(8):
            angle = place / 10000 ** (2 * (feature // 2) / 8)
            expected = np.sin(angle) if feature % 2 == 0 else np.cos(angle)
            assert abs(float(table[place, feature]) - expected) < 1e-6
