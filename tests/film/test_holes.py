"""Holes of every kind."""

import numpy as np
import pytest
import torch
from PIL import Image

from diffmae_video import InputError, Mask
from diffmae_video.data import open_video
from diffmae_video.data.mask_colours import palette_colour
from diffmae_video.encoding.clips import write_video
from diffmae_video.errors import InputWarning
from diffmae_video.film.canvas import Canvas
from diffmae_video.film.holes import BoxHole, DrawnHole, HoleEdits, open_hole, parse_boxes
from tests.tiny_models import tiny_diffmae

GRID, PATCH = (2, 4, 4), (2, 8, 8)


@pytest.fixture
def film(tmp_path):
    """Ten frames of 48 x 40 at 5 a second."""
    path = tmp_path / "film.mp4"
    write_video(path, np.random.default_rng(0).integers(0, 255, (10, 40, 48, 3), np.uint8), 5)
    with open_video(path) as video:
        yield video


@pytest.mark.parametrize("kind", ["random", "tube", "frame", "block", "center"])
def test_every_kind_hides_its_share_and_leaves_each_clip_visible_patches(kind):
    canvas = Canvas.for_film((40, 48), GRID, PATCH, tiles=False)
    hole = DrawnHole(canvas, kind, 0.5, 2, 2, num_frames=23, seed=1)
    pixels = hole.pixels(0, 23)
    patches = hole.patches(pixels, 0)
    assert pixels.shape == (23, 40, 48)
    assert torch.equal(patches[0:22:2], patches[1:22:2])  # the frames of a patch
    for frame, area in zip(pixels, patches, strict=True):
        assert np.array_equal(frame, canvas.covered_pixels(area))
    clips = patches[:20].reshape(5, 2, 2, 4, 4).any(2)
    if kind == "center":
        assert torch.equal(clips, Mask.center(5, GRID).to_bool())
    elif kind in ("random", "tube", "block"):
        assert clips.flatten(1).sum(1).tolist() == [16] * 5
    assert all(0 < int(clip.sum()) < 32 for clip in clips)
    if kind == "tube":
        assert bool((patches == patches[0]).all())
    if kind == "random":
        assert not torch.equal(clips[0], clips[1])
        other = DrawnHole(canvas, kind, 0.5, 2, 2, num_frames=23, seed=2)
        assert not torch.equal(other.patches(pixels, 0), patches)
    again = DrawnHole(canvas, kind, 0.5, 2, 2, num_frames=23, seed=1)
    assert np.array_equal(again.pixels(7, 15), pixels[7:15])


def test_a_box_hides_its_place_at_its_time():
    canvas = Canvas.for_film((40, 48), GRID, PATCH, tiles=False)
    times = np.arange(10) / 5
    hole = BoxHole(canvas, [((3, 5, 7, 9), (0.4, 1.0)), ((40, 0, 2, 2), (0.0, 0.4))], times)
    pixels = hole.pixels(1, 6)
    assert pixels.sum((1, 2)).tolist() == [4, 63, 63, 63, 0]
    assert np.argwhere(pixels[1])[[0, -1]].tolist() == [[5, 3], [13, 9]]
    assert BoxHole(canvas, [((0, 0, 1, 1), None)], times).pixels(0, 10).sum() == 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3", "a box is written x,y,w,h"),
        ("1,2,3,4,5", "a box is written x,y,w,h"),
        ("1,2,3,x", "a box is written x,y,w,h"),
        ("1.5,2,3,4", "a box is written x,y,w,h"),
        ("nan,2,3,4", "a box is written x,y,w,h"),
        ("1,2,3,4,2,1", "t0 must be 0 or more and below t1"),
        ("40,2,20,4", "does not fit into the frame of 48 x 40"),
        ("0,0,0,4", "does not fit into the frame"),
        ("1,2,3,4,7,8", "no frame lies between 7 and 8 s"),
        ("nowhere.png", "neither a file, a folder nor a kind of mask"),
        ("rondom", "kinds are random, tube, frame, block, box, center"),
    ],
)
def test_bad_masks_are_refused(film, text, message):
    canvas = Canvas.for_film((40, 48), GRID, PATCH, tiles=False)
    with pytest.raises(InputError, match=message):
        open_hole(text, 0.5, tiny_diffmae(), canvas, film, 0)


def test_pictures_and_videos_are_masks(tmp_path, film):
    canvas, model = Canvas.for_film((40, 48), GRID, PATCH, tiles=False), tiny_diffmae()
    picture = np.zeros((40, 48), np.uint8)
    picture[10:20, 5:30] = 255
    Image.fromarray(picture).save(tmp_path / "mask.png")
    hole = open_hole(str(tmp_path / "mask.png"), 0.5, model, canvas, film, 0)
    assert np.array_equal(hole.pixels(3, 5), np.stack([picture > 0] * 2))

    frames = np.zeros((10, 40, 48, 3), np.uint8)
    for i, frame in enumerate(frames):
        frame[8:24, 4 * i : 4 * i + 8] = 255
    write_video(tmp_path / "mask.mp4", frames, 5, crf=0)
    hole = open_hole(str(tmp_path / "mask.mp4"), 0.5, model, canvas, film, 0)
    assert np.mean(hole.pixels(2, 9) != (frames[2:9, ..., 0] > 127)) < 0.01
    hole.close()

    write_video(tmp_path / "small.mp4", frames[:, :32, :32], 5)
    with pytest.raises(InputError, match="the mask has 32 x 32 pixels and the input 48 x 40"):
        open_hole(str(tmp_path / "small.mp4"), 0.5, model, canvas, film, 0)
    Image.fromarray(picture[:8]).save(tmp_path / "small.png")
    with pytest.raises(InputError, match="the mask has 48 x 8 pixels"):
        open_hole(str(tmp_path / "small.png"), 0.5, model, canvas, film, 0)
    Image.fromarray(picture * 0).save(tmp_path / "black.png")
    with pytest.raises(InputError, match="the mask hides nothing"):
        open_hole(str(tmp_path / "black.png"), 0.5, model, canvas, film, 0)


def test_masks_with_transparency_and_in_folders(tmp_path, film):
    canvas, model = Canvas.for_film((40, 48), GRID, PATCH, tiles=False), tiny_diffmae()
    expected = np.zeros((10, 40, 48), bool)
    pictures = []
    for i, mask in enumerate(expected):
        mask[8:24, 4 * i : 4 * i + 8] = True
        pictures.append(Image.fromarray(np.stack([0 * mask] * 3 + [255 * mask], -1).astype(np.uint8)))
        (tmp_path / "folder").mkdir(exist_ok=True)
        pictures[-1].save(tmp_path / "folder" / f"{i + 1}.png")
    first, *others = pictures
    for name, options in (("mask.gif", {"disposal": 2}), ("mask.webp", {"lossless": True})):
        first.save(tmp_path / name, save_all=True, append_images=others, duration=200, **options)
    for name in ("folder", "mask.gif", "mask.webp"):
        hole = open_hole(str(tmp_path / name), 0.5, model, canvas, film, 0)
        assert np.array_equal(hole.pixels(0, 10), expected), name
        hole.close()


def test_boxes_are_parsed():
    assert parse_boxes("1,2,3,4") == [((1, 2, 3, 4), None)]
    assert parse_boxes("1,2,3,4,0.5,2 5,6,7,8") == [((1, 2, 3, 4), (0.5, 2.0)), ((5, 6, 7, 8), None)]
    assert parse_boxes("center") is None
    assert len(parse_boxes(" ".join(["10,20,30,40,0.5,2"] * 99))) == 99  # too long for the name of a file


def edited(film, text, **edits):
    canvas = Canvas.for_film((40, 48), GRID, PATCH, tiles=False)
    return open_hole(text, 0.5, tiny_diffmae(), canvas, film, 0, HoleEdits(**edits))


def test_holes_are_inverted_grown_and_feathered(film):
    box = np.zeros((40, 48), bool)
    box[10:20, 12:30] = True
    frames = edited(film, "12,10,18,10,0,1", invert=True).pixels(0, 10)
    assert np.array_equal(frames, np.stack([~box] * 5 + [box & False] * 5))
    hole = edited(film, "12,10,18,10", dilate=3, feather=2)
    assert hole.feather == 2
    (grown,) = hole.pixels(4, 5)
    rows, columns = np.indices(box.shape)
    distance = np.hypot(
        *(np.maximum(np.maximum(a - x, x - b), 0) for x, a, b in ((rows, 10, 19), (columns, 12, 29)))
    )
    assert np.array_equal(grown, distance <= 5)


@pytest.mark.parametrize(
    ("text", "edits", "message"),
    [
        ("random", {"dilate": 1}, "is drawn on the model's patches"),
        ("1,2,3,4", {"instances": [1]}, "boxes have no colours"),
        ("1,2,3,4", {"dilate": -1}, "--dilate must be from 0 to 500 pixels, got -1"),
        ("1,2,3,4", {"feather": 501}, "--feather must be from 0 to 500 pixels, got 501"),
    ],
)
def test_edits_that_make_no_sense_are_refused(film, text, edits, message):
    with pytest.raises(InputError, match=message):
        edited(film, text, **edits)


def test_a_picture_of_another_size_is_resized_with_a_warning(tmp_path, film):
    mask = np.zeros((80, 96), np.uint8)
    mask[21:40, 30:51] = 255
    Image.fromarray(mask).save(tmp_path / "large.png")
    with pytest.warns(InputWarning, match="masks of 96 x 80 pixels are resized to 48 x 40"):
        (hidden,) = edited(film, str(tmp_path / "large.png")).pixels(0, 1)
    assert np.argwhere(hidden)[[0, -1]].tolist() == [[10, 15], [19, 25]]  # whatever the mask touches


def test_objects_of_a_film_are_chosen_by_number(tmp_path, film):
    for i in range(10):
        index = np.zeros((40, 48), np.uint8)
        index[2:6, i : i + 4], index[20:30, 8:12] = 1, 2
        picture = Image.fromarray(index, "P")
        picture.putpalette([v for n in range(3) for v in palette_colour(n)])
        picture.save(tmp_path / f"{i}.png")
    for chosen, pixels in (([], 56), ([1], 16), ([2], 40), ([(128, 0, 0)], 16), ([1, (0, 128, 0)], 56)):
        assert (
            edited(film, str(tmp_path), instances=chosen).pixels(0, 10).sum((1, 2)).tolist() == [pixels] * 10
        )
