"""How frames and holes map to the canvas and back."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffmae_video.film.canvas import Canvas

GRID, PATCH = (2, 4, 4), (2, 8, 8)
sizes = st.tuples(st.integers(5, 90), st.integers(5, 90))


@settings(max_examples=80)
@given(size=sizes, tiles=st.booleans(), data=st.data())
def test_touched_patches_overlap_the_hole(size, tiles, data):
    canvas = Canvas.for_film(size, GRID, PATCH, tiles)
    y = data.draw(st.integers(0, size[0] - 1))
    x = data.draw(st.integers(0, size[1] - 1))
    hole = np.zeros(size, bool)
    hole[y : y + data.draw(st.integers(1, 20)), x : x + data.draw(st.integers(1, 20))] = True
    touched = canvas.touched_patches(hole)
    # exact, in whole numbers: pixel (i, j) spans [i, i + 1) x [j, j + 1) of the film
    expected = np.zeros(canvas.grid, bool)
    for i, j in np.argwhere(hole):
        for row in range(canvas.grid[0]):
            for column in range(canvas.grid[1]):
                if tiles:
                    inside = i // 8 == row and j // 8 == column
                else:
                    inside = (
                        row * size[0] < (i + 1) * canvas.grid[0]
                        and i * canvas.grid[0] < (row + 1) * size[0]
                        and column * size[1] < (j + 1) * canvas.grid[1]
                        and j * canvas.grid[1] < (column + 1) * size[1]
                    )
                expected[row, column] |= inside
    if tiles:  # what repeats a hidden edge is hidden too
        last = (size[0] - 1) // 8, (size[1] - 1) // 8
        assert bool(
            (touched.numpy()[: last[0] + 1, : last[1] + 1] >= expected[: last[0] + 1, : last[1] + 1]).all()
        )
    else:
        assert np.array_equal(touched.numpy(), expected)


@settings(max_examples=60)
@given(size=sizes, tiles=st.booleans(), seed=st.integers(0, 99))
def test_nothing_leaks_out_of_a_hole(size, tiles, seed):
    chance = np.random.default_rng(seed)
    canvas = Canvas.for_film(size, GRID, PATCH, tiles)
    y, x = chance.integers(size[0]), chance.integers(size[1])
    hole = np.zeros(size, bool)
    hole[y : y + 15, x : x + 15] = True
    frame = chance.integers(0, 256, (*size, 3), np.uint8)
    other = np.where(hole[..., None], 255 - frame, frame)
    visible = ~canvas.touched_patches(hole).repeat_interleave(8, 0).repeat_interleave(8, 1)
    small = canvas.from_frame(frame, hole)
    assert small.shape == (3, *canvas.size)
    assert torch.equal(small[:, visible], canvas.from_frame(other, hole)[:, visible])


@given(size=st.tuples(st.integers(1, 90), st.integers(1, 90)))
def test_tiles_restore_the_frame_exactly(size):
    canvas = Canvas.for_film(size, GRID, PATCH, tiles=True)
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    assert np.array_equal(canvas.to_frame(canvas.from_frame(frame, np.zeros(size, bool))), frame)
    assert canvas.size[0] % 8 == canvas.size[1] % 8 == 0
    assert min(canvas.size) >= 32


@settings(max_examples=60)
@given(size=st.tuples(st.integers(32, 99), st.integers(32, 99)), tiles=st.booleans())
def test_each_pixel_belongs_to_one_patch(size, tiles):
    canvas = Canvas.for_film(size, GRID, PATCH, tiles)
    patches = torch.rand(canvas.grid) < 0.5
    area = canvas.covered_pixels(patches)
    assert np.array_equal(~area, canvas.covered_pixels(~patches))
    if size == canvas.size:
        assert np.array_equal(area, np.kron(patches.numpy(), np.ones((8, 8), bool)))
