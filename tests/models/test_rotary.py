"""Rotary positions: attention depends on distances alone, and every grid fits."""

import pytest
import torch

from diffmae_video.errors import InputError
from diffmae_video.models.rotary import frequencies, rotate, rotation_of, token_places

GRID = (3, 4, 5)


def scores(places: torch.Tensor, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    rotation = rotation_of(places, queries.shape[-1])
    return rotate(queries, rotation) @ rotate(keys, rotation).transpose(-2, -1)


def test_places_are_in_token_order():
    places = token_places(GRID)[0]
    for token, (t, row, column) in enumerate(places.tolist()):
        assert token == (t * 4 + row) * 5 + column


def test_shifting_all_places_changes_no_attention_score():
    queries, keys = torch.randn(2, 1, 2, 60, 64).unbind(0)
    places = token_places(GRID)
    shifted = places + torch.tensor([7.0, -3.0, 11.0])
    torch.testing.assert_close(
        scores(places, queries, keys), scores(shifted, queries, keys), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("axis", range(3))
def test_every_axis_changes_the_scores(axis):
    queries, keys = torch.randn(2, 1, 2, 60, 64).unbind(0)
    places = token_places(GRID)
    stretched = places.clone()
    stretched[..., axis] *= 1.5
    assert (scores(places, queries, keys) - scores(stretched, queries, keys)).abs().max() > 0.1


def test_rotation_equals_a_slow_loop_of_complex_numbers():
    x, places = torch.randn(1, 1, 60, 16), token_places(GRID)
    turned, table = rotate(x, rotation_of(places, 16))[0, 0], frequencies(16)
    for token in range(60):
        for pair in range(8):
            angle = sum(float(places[0, token, axis] * table[axis, pair]) for axis in range(3))
            value = complex(x[0, 0, token, pair], x[0, 0, token, pair + 8])
            value *= complex(torch.cos(torch.tensor(angle)), torch.sin(torch.tensor(angle)))
            assert turned[token, pair].item() == pytest.approx(value.real, abs=1e-5)
            assert turned[token, pair + 8].item() == pytest.approx(value.imag, abs=1e-5)


def test_rotation_keeps_lengths_and_unplaced_tokens():
    x = torch.randn(2, 3, 61, 32)
    turned = rotate(x, rotation_of(token_places(GRID).expand(2, -1, -1), 32, unplaced=1))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(turned[:, :, 0], x[:, :, 0])
    assert not torch.allclose(turned[:, :, 1:], x[:, :, 1:])


def test_a_quarter_of_the_head_turns_with_time():
    turning = (frequencies(64) > 0).sum(1)
    assert turning.tolist() == [8, 12, 12]
    assert ((frequencies(64) > 0).sum(0) == 1).all()


def test_uneven_times_are_real_places():
    times = torch.tensor([[0.0, 1.0, 2.0], [0.0, 4.0, 40.0]])
    places = token_places(GRID, times)
    assert places.shape == (2, 60, 3)
    assert torch.equal(places[0], token_places(GRID)[0])
    assert places[1, ::20, 0].tolist() == [0.0, 4.0, 40.0]
    assert rotation_of(places, 16)[0].shape == (2, 1, 60, 8)


def test_wrong_sizes_are_refused():
    with pytest.raises(InputError, match="2 times were given for a grid of 3 time steps"):
        token_places(GRID, torch.zeros(1, 2))
    for width in (6, 9):
        with pytest.raises(InputError, match="even width of at least 8"):
            frequencies(width)


def test_autocast_does_not_round_the_angles():
    places = torch.tensor([[[301.7, 203.0, 399.0]]])
    expected = rotation_of(places, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = rotation_of(places, 64)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
