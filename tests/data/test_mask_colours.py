"""Numbers and colours of objects in masks."""

import numpy as np
import pytest
from PIL import Image

from diffmae_video import InputError
from diffmae_video.data.mask_colours import hidden_by_instances, palette_colour, parse_instances


def test_the_palette_is_that_of_davis():
    colours = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)]
    assert [palette_colour(n) for n in range(7)] == colours
    assert (palette_colour(8), palette_colour(255)) == ((64, 0, 0), (224, 224, 192))


def test_instances_are_parsed():
    assert parse_instances("1,#80fF00,255") == [1, (128, 255, 0), 255]


@pytest.mark.parametrize("text", ["", "0", "256", "1,", "#8000", "red", "1;2", "²"])
def test_what_is_no_instance_is_refused(text):
    with pytest.raises(InputError, match="numbers of objects from 1 to 255 or colours such as #800000"):
        parse_instances(text)


def test_objects_are_found_in_every_kind_of_picture():
    index = np.array([[0, 1, 2], [2, 3, 1]], np.uint8)
    palette = Image.fromarray(index, "P")
    palette.putpalette([v for n in range(4) for v in palette_colour(n)])
    transparent = palette.convert("RGBA")
    transparent.putpixel((1, 0), (128, 0, 0, 9))
    own = Image.fromarray(index, "P")
    own.putpalette([0, 0, 0, 10, 20, 30, 250, 250, 250, 90, 90, 90])
    first = index == 1
    assert np.array_equal(hidden_by_instances(palette, "PNG", [1]), first)
    assert np.array_equal(hidden_by_instances(palette, "PNG", [(128, 0, 0), 3]), first | (index == 3))
    assert np.array_equal(hidden_by_instances(palette.convert("RGB"), "PNG", [1]), first)
    assert np.array_equal(hidden_by_instances(Image.fromarray(index, "L"), "PNG", [1]), first)
    assert np.array_equal(hidden_by_instances(own, "PNG", [1]), first)
    assert np.array_equal(hidden_by_instances(own, "PNG", [(10, 20, 30)]), first)
    assert not hidden_by_instances(own, "GIF", [1]).any()  # a palette that compresses colours
    assert np.argwhere(hidden_by_instances(transparent, "PNG", [1])).tolist() == [[1, 2]]


def test_lossy_files_change_colours_a_little():
    noisy = np.array(palette_colour(5)) + np.random.default_rng(0).integers(-15, 16, (8, 8, 3))
    picture = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    assert hidden_by_instances(picture, "JPEG", [5]).all()
    assert not any(hidden_by_instances(picture, "JPEG", [n]).any() for n in range(1, 256) if n != 5)
