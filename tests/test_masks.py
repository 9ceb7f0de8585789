"""Masks: counts, order, and what each kind hides."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffmae_video import InputError, Mask
from diffmae_video.mask_kinds import MASKS, OWN_SHARE

grids = st.tuples(st.integers(1, 5), st.integers(2, 8), st.integers(2, 8))


def check(mask, grid, batch):
    count = math.prod(grid)
    assert mask.grid == grid
    assert mask.visible.dtype == mask.masked.dtype == torch.int64
    assert mask.visible.shape[0] == mask.masked.shape[0] == batch
    assert mask.visible.shape[1] >= 1
    assert mask.masked.shape[1] >= 1
    for visible, masked in zip(mask.visible.tolist(), mask.masked.tolist(), strict=True):
        assert visible == sorted(visible)
        assert masked == sorted(masked)
        assert sorted(visible + masked) == list(range(count))


@settings(max_examples=60)
@given(grids, st.floats(0.3, 0.97), st.integers(1, 3), st.sampled_from(MASKS))
def test_every_kind_splits_all_tokens(grid, ratio, batch, kind):
    units = {"frame": grid[0], "tube": grid[1] * grid[2], "box": grid[1] * grid[2]}.get(kind, math.prod(grid))
    if kind not in OWN_SHARE and max(1, math.floor(units * (1 - ratio) + 1e-6)) == units:
        with pytest.raises(InputError, match="masked"):
            Mask.draw(kind, batch, grid, ratio)
        return
    mask = Mask.draw(kind, batch, grid, ratio, torch.Generator().manual_seed(0))
    check(mask, grid, batch)


def test_the_kinds_that_ignore_the_ratio_are_those_that_are_listed():
    def hidden(kind, ratio):
        return Mask.draw(kind, 1, (4, 4, 4), ratio, torch.Generator().manual_seed(0)).masked.shape[1]

    assert {kind for kind in MASKS if hidden(kind, 0.5) == hidden(kind, 0.75)} == set(OWN_SHARE)


@settings(max_examples=60)
@given(grids, st.floats(0.01, 0.999))
def test_random_leaves_the_stated_number_visible(grid, ratio):
    count = math.prod(grid)
    visible = max(1, math.floor(count * (1 - ratio) + 1e-6))
    if visible == count:
        with pytest.raises(InputError, match="masked"):
            Mask.random(1, grid, ratio)
        return
    assert Mask.random(1, grid, ratio).visible.shape == (1, visible)


def test_the_counts_of_the_paper():
    assert Mask.random(1, (1, 14, 14), 0.75).visible.shape[1] == 49
    assert Mask.random(1, (8, 14, 14), 0.9).visible.shape[1] == 156
    assert Mask.tube(1, (8, 14, 14), 0.9).visible.shape[1] == 19 * 8


def test_random_is_uniform_and_apart_for_each_clip_and_time_step():
    mask = Mask.random(4000, (2, 3, 3), 0.5, torch.Generator().manual_seed(0))
    share = mask.to_bool().flatten(1).float().mean(0)
    torch.testing.assert_close(share, torch.full((18,), 0.5), atol=0.03, rtol=0)
    picture = mask.to_bool()
    assert not torch.equal(picture[0], picture[1])
    assert not torch.equal(picture[:, 0], picture[:, 1])


def test_tube_repeats_one_pattern_over_time():
    picture = Mask.tube(8, (4, 6, 6), 0.75, torch.Generator().manual_seed(0)).to_bool()
    assert torch.equal(picture, picture[:, :1].expand_as(picture))
    assert not torch.equal(picture[0], picture[1])


def test_frame_hides_whole_time_steps():
    picture = Mask.frame(50, (4, 3, 3), 0.5, torch.Generator().manual_seed(0)).to_bool()
    steps = picture.flatten(2)
    assert torch.equal(steps.all(2), steps.any(2))
    assert (steps.any(2).sum(1) == 2).all()
    assert steps.any(2).any(0).all()  # each step is hidden in some clip
    future = Mask.frame(2, (4, 3, 3), 0.5, future=True).to_bool()
    assert torch.equal(future.flatten(2).any(2), torch.tensor([[False, False, True, True]] * 2))
    with pytest.raises(InputError, match="none of the 1 patches masked"):
        Mask.frame(1, (1, 3, 3), 0.5)


def test_block_hides_cuboids():
    grid = (4, 8, 8)
    mask = Mask.block(20, grid, 0.5, torch.Generator().manual_seed(0))
    assert mask.masked.shape == (20, 128)

    def neighbours_alike(picture):
        return float((picture[..., 1:] == picture[..., :-1]).float().mean())

    scattered = Mask.random(20, grid, 0.5, torch.Generator().manual_seed(0)).to_bool()
    assert neighbours_alike(mask.to_bool()) > 0.75 > 0.6 > neighbours_alike(scattered)


@settings(max_examples=40)
@given(grids, st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 4)), st.integers(0, 999))
def test_from_pixels_masks_what_it_touches(grid, patch, seed):
    size = [n * p for n, p in zip(grid, patch, strict=True)]
    pixels = torch.rand(size, generator=torch.Generator().manual_seed(seed)) < 0.02
    a, p, q = patch
    expected = torch.zeros(grid, dtype=torch.bool)
    for i, j, k in pixels.nonzero().tolist():
        expected[i // a, j // p, k // q] = True
    if expected.all() or not expected.any():
        with pytest.raises(InputError, match="none of the"):
            Mask.from_pixels(pixels, grid, patch)
        return
    assert torch.equal(Mask.from_pixels(pixels, grid, patch).to_bool()[0], expected)


def test_from_pixels_takes_a_picture_for_all_frames_and_refuses_other_sizes():
    picture = torch.zeros(8, 8, dtype=torch.uint8)
    picture[5, 2] = 255
    mask = Mask.from_pixels(picture, (3, 2, 2), (2, 4, 4))
    assert mask.masked.tolist() == [[2, 6, 10]]
    with pytest.raises(InputError, match="does not fit a clip of"):
        Mask.from_pixels(picture[:7], (3, 2, 2), (2, 4, 4))


def test_center_hides_the_central_half():
    picture = Mask.center(1, (2, 16, 16)).to_bool()[0]
    expected = torch.zeros(16, 16, dtype=torch.bool)
    expected[4:12, 4:12] = True
    assert torch.equal(picture, expected.expand(2, -1, -1))


def test_a_seed_fixes_a_mask():
    one, two = (Mask.random(2, (2, 4, 4), 0.75, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one.masked, two.masked)


@settings(max_examples=30)
@given(grids, st.integers(1, 3), st.integers(0, 1000))
def test_bool_pictures_come_back(grid, batch, seed):
    mask = Mask.random(batch, grid, 0.5, torch.Generator().manual_seed(seed))
    again = Mask.from_bool(mask.to_bool())
    assert torch.equal(again.masked, mask.masked)
    assert torch.equal(again.visible, mask.visible)
    assert mask.to_pixels((2, 3, 4)).shape == (batch, 1, grid[0] * 2, grid[1] * 3, grid[2] * 4)
    assert torch.equal(mask.to_pixels((2, 3, 4))[:, 0, ::2, ::3, ::4], mask.to_bool())


def test_cat_joins_a_batch():
    masks = [Mask.random(1, (2, 4, 4), 0.75) for _ in range(3)]
    joined = Mask.cat(masks)
    assert joined.batch == 3
    assert torch.equal(joined.masked[1:2], masks[1].masked)
    with pytest.raises(InputError, match="same number of visible"):
        Mask.cat([masks[0], Mask.random(1, (2, 4, 4), 0.5)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mask.random(1, (2, 4, 4), 1.0), "leaves nothing visible"),
        (lambda: Mask.random(1, (2, 4, 4), 0.0), "nothing masked"),
        (lambda: Mask.tube(1, (2, 4, 4), 1.5), "between 0 and 1"),
        (lambda: Mask.center(1, (2, 1, 1)), "none of the 2 patches visible"),
        (lambda: Mask.draw("ring", 1, (2, 4, 4), 0.5), "unknown mask 'ring'"),
        (lambda: Mask.from_bool(torch.zeros(1, 1, 2, 2, dtype=torch.bool)), "none of the 4 patches masked"),
    ],
)
def test_impossible_masks_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_batch_must_have_one_static_shape():
    masked = torch.zeros(2, 1, 2, 2, dtype=torch.bool)
    masked[0, 0, 0, 0] = masked[1, 0, 0] = True
    with pytest.raises(InputError, match="same number of patches"):
        Mask.from_bool(masked)


def test_times_follow_their_clips():
    mask, times = Mask.random(2, (3, 2, 2), 0.5), torch.tensor([[0.0, 1.0, 3.0], [0.0, 2.0, 5.0]])
    placed = mask.at(times)
    assert mask.times is None
    assert mask.at(None) is mask
    assert mask.at(times[:1]).times.tolist() == [[0, 1, 3], [0, 1, 3]]
    assert placed.repeat_interleave(2).times.tolist() == times.repeat_interleave(2, 0).tolist()
    assert placed.to("cpu").times.tolist() == times.tolist()
    assert Mask.cat([placed, placed]).times.tolist() == [*times.tolist(), *times.tolist()]
    with pytest.raises(InputError, match="only if all of them have times, or none"):
        Mask.cat([mask, placed])
    for wrong in (torch.zeros(3, 3), torch.zeros(2, 4), torch.zeros(3)):
        with pytest.raises(InputError, match="do not fit a mask of 2 clips of 3 time steps"):
            mask.at(wrong)


@settings(max_examples=60)
@given(grids, st.floats(0.05, 0.97), st.integers(0, 99))
def test_a_box_is_one_rectangle_in_all_frames(grid, ratio, seed):
    _, h, w = grid
    visible = max(1, math.floor(h * w * (1 - ratio) + 1e-6))
    if visible == h * w:
        with pytest.raises(InputError, match="masked"):
            Mask.box(1, grid, ratio)
        return
    picture = Mask.box(1, grid, ratio, torch.Generator().manual_seed(seed)).to_bool()[0]
    assert bool((picture == picture[:1]).all())
    assert int(picture[0].sum()) == h * w - visible
    rows, columns = (picture[0].any(dim).nonzero().flatten() for dim in (1, 0))
    rectangle = picture[0, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert bool(rectangle[:-1].all())  # only the last row may be cut off
    assert bool(rectangle[-1].cummin(0).values.equal(rectangle[-1]))


def test_boxes_differ_in_place_and_shape():
    masks = Mask.box(60, (2, 8, 8), 0.3, torch.Generator().manual_seed(0)).to_bool()[:, 0]
    sides = {(int(m.any(1).sum()), int(m.any(0).sum())) for m in masks}
    assert {(3, 7), (4, 5), (5, 4), (7, 3)} <= sides
    assert bool(masks.any(0).all())


def test_a_loader_pins_all_tensors_of_a_mask(monkeypatch):
    from torch.utils.data._utils.pin_memory import pin_memory

    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda x, *_: (pinned.append(x), x.clone())[1])
    mask = Mask.random(2, (2, 4, 4), 0.75).at(torch.tensor([[0.0, 2.0]]))
    same = pin_memory((mask,))[0]
    assert len(pinned) == 3
    for name in ("visible", "masked", "times"):
        assert torch.equal(getattr(same, name), getattr(mask, name))
        assert getattr(same, name) is not getattr(mask, name)
