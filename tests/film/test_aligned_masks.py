"""Masks of another rate, number or size than the film."""

import numpy as np
import pytest
from PIL import Image

from diffmae_video import InputError
from diffmae_video.data import open_video
from diffmae_video.data.mask_files import open_mask_film
from diffmae_video.encoding.clips import write_video
from diffmae_video.errors import InputWarning
from diffmae_video.film.aligned_masks import AlignedMasks


@pytest.fixture
def film(tmp_path):
    """Twenty frames of 48 x 40 at 10 a second."""
    path = tmp_path / "film.mp4"
    write_video(path, np.random.default_rng(0).integers(0, 255, (20, 40, 48, 3), np.uint8), 10)
    with open_video(path) as video:
        yield video


def numbered(count, size=(40, 48)):
    """Mask k hides row k, across."""
    frames = np.zeros((count, *size, 3), np.uint8)
    for k, frame in enumerate(frames):
        frame[k * size[0] // 40] = 255
    return frames


def write(path, frames, fps):
    """A lossless animation, whose colours do not bleed into each other as those of a video do."""
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=others, duration=1000 / fps, lossless=True)


def rows(aligned, first, end):
    """Which masks each frame takes."""
    return [sorted(set(np.nonzero(mask)[0].tolist())) for mask in aligned.hidden(first, end)]


def align(path, film):
    return AlignedMasks(path, open_mask_film(path, film.num_frames), film)


def test_masks_of_half_the_rate_hide_both_neighbours_between_them(tmp_path, film):
    write(tmp_path / "half.webp", numbered(10), 5)
    masks = open_mask_film(tmp_path / "half.webp", 10)  # not repeated to 20
    with pytest.warns(
        InputWarning, match=r"10 masks for 20 frames are aligned by time \(5 and 10 a second\)$"
    ):
        aligned = AlignedMasks(tmp_path, masks, film)
    expected = [[k // 2, k // 2 + 1][: 1 + k % 2] for k in range(19)] + [[9]]
    assert rows(aligned, 0, 20) == expected
    assert rows(aligned, 7, 12) == expected[7:12]  # backwards


def test_masks_of_twice_the_rate_are_taken_at_the_frames_times(tmp_path, film):
    write(tmp_path / "double.webp", numbered(40), 20)
    with pytest.warns(InputWarning, match="40 masks for 20 frames are aligned by time"):
        aligned = align(tmp_path / "double.webp", film)
    assert rows(aligned, 0, 20) == [[2 * k] for k in range(20)]


def test_nothing_is_hidden_after_the_last_mask(tmp_path, film):
    write(tmp_path / "short.webp", numbered(12), 10)
    with pytest.warns(InputWarning, match=r"and nothing is hidden after 1\.20 s"):
        aligned = align(tmp_path / "short.webp", film)
    assert rows(aligned, 0, 20) == [[k] for k in range(12)] + [[]] * 8


def test_videos_have_a_clock(tmp_path, film):
    write_video(tmp_path / "masks.mp4", numbered(12), 5, crf=0)
    with pytest.warns(
        InputWarning, match=r"12 masks for 20 frames are aligned by time \(5 and 10 a second\)"
    ):
        aligned = align(tmp_path / "masks.mp4", film)
    assert rows(aligned, 0, 20) == [[k // 2, k // 2 + 1][: 1 + k % 2] for k in range(20)]


def test_a_folder_is_spread_evenly(tmp_path, film):
    (tmp_path / "masks").mkdir()
    for k, mask in enumerate(numbered(5)):
        Image.fromarray(mask).save(tmp_path / "masks" / f"{k}.png")
    with pytest.warns(InputWarning, match=r"5 masks for 20 frames are spread evenly over its 2\.00 s"):
        aligned = align(tmp_path / "masks", film)
    expected = [[k // 4] if k % 4 == 0 or k > 16 else [k // 4, k // 4 + 1] for k in range(20)]
    assert rows(aligned, 0, 20) == expected


def test_masks_are_resized_unless_their_shape_differs(tmp_path, film):
    write(tmp_path / "large.webp", numbered(20, (80, 96)), 10)
    with pytest.warns(InputWarning, match="masks of 96 x 80 pixels are resized to 48 x 40$"):
        aligned = align(tmp_path / "large.webp", film)
    assert rows(aligned, 0, 20) == [[k] for k in range(20)]
    write(tmp_path / "wide.webp", numbered(20, (40, 64)), 10)
    with pytest.raises(InputError, match="64 x 40 pixels and the input 48 x 40, which is another shape"):
        align(tmp_path / "wide.webp", film)
