"""Where windows lie, and how they are batched."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffmae_video.film.windows import Window, hat, make_batches, starts, time_step

small = settings(max_examples=60)


@small
@given(window=st.integers(1, 20), more=st.integers(0, 60), step=st.integers(1, 20))
def test_windows_cover_exactly_the_length(window, more, step):
    step = min(step, window)
    places = starts(window + more, window, step)
    assert places == sorted(set(places))
    covered = {i for start in places for i in range(start, start + window)}
    assert covered == set(range(window + more))


@small
@given(steps=st.integers(1, 12), patch=st.integers(1, 4), aligned=st.booleans())
def test_clips_overlap_and_align_with_patches_only_if_the_hole_does(steps, patch, aligned):
    window = steps * patch
    step = time_step(window, patch, aligned)
    assert 1 <= step <= max(patch, window // 2)
    if aligned:
        assert step % patch == 0
        assert window % step == 0
    elif steps > 2 and patch > 1:
        assert step % patch


@given(st.integers(1, 40))
def test_weights_are_symmetric_and_positive(window):
    weights = hat(window)
    assert float(weights.min()) > 0
    assert float(weights.max()) == 1
    assert torch.equal(weights, weights.flip(0))


@small
@given(seed=st.integers(0, 999), share=st.floats(0.02, 0.98), most=st.integers(1, 5))
def test_batches_hide_all_hidden_patches_and_few_others(seed, share, most):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.rand(9, 5, 6, generator=generator) < share
    places = [Window(f, r, c) for f in (0, 3, 5) for r in (0, 1) for c in (0, 2)]
    batches = make_batches(hidden, places, (2, 4, 4), 2, most)
    seen = [place for batch in batches for place in batch.windows]
    views = {
        p: hidden[p.frame : p.frame + 4, p.row : p.row + 4, p.column : p.column + 4]
        .reshape(2, 2, 4, 4)
        .any(1)
        for p in places
    }
    assert sorted(seen) == sorted(p for p, v in views.items() if 0 < int(v.sum()) < 32)
    for batch in batches:
        assert len(batch.windows) <= most
        for place, masked in zip(batch.windows, batch.mask.to_bool(), strict=True):
            assert bool(masked[views[place]].all())
            assert int(masked.sum()) - int(views[place].sum()) <= 2


def test_additional_hidden_patches_are_farthest_from_the_hole():
    hidden = torch.zeros(4, 4, 8, dtype=torch.bool)
    hidden[:2, 0, 0] = True
    hidden[:2, 0, 4] = hidden[:2, 1, 4] = True
    places = [Window(0, 0, 0), Window(0, 0, 4)]
    (batch,) = make_batches(hidden, places, (2, 4, 4), 2, 8)
    first = batch.mask.to_bool()[batch.windows.index(places[0])]
    assert first.nonzero().tolist() == [[0, 0, 0], [1, 3, 3]]


def test_numbers_of_hidden_patches_repeat():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.rand(64, 8, 8, generator=generator) < torch.linspace(0, 1, 64)[:, None, None]
    batches = make_batches(hidden, [Window(f, 0, 0) for f in range(61)], (4, 8, 8), 1, 3)
    counts = {batch.mask.masked.shape[1] for batch in batches}
    assert counts <= {*range(16, 256, 16), 255}
    assert len(batches) > len(counts)


@pytest.mark.parametrize("shown", [0, 32])
def test_clips_without_hidden_or_without_visible_patches_are_left_out(shown):
    hidden = torch.full((4, 4, 4), shown == 0)
    assert make_batches(hidden, [Window(0, 0, 0)], (2, 4, 4), 2, 8) == []
