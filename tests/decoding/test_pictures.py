"""Pictures, animated pictures and folders of frames as videos."""

import numpy as np
import pytest
from PIL import Image

from diffmae_video import InputError
from diffmae_video.decoding import VideoError, open_video
from diffmae_video.decoding.small_copies import resize_video
from diffmae_video.encoding.writers import open_film
from tests.decoding.numbered import numbered, numbers


def test_a_folder_of_frames_is_a_film_in_natural_order(tmp_path):
    for i in range(12):
        Image.fromarray(numbered(i)).save(tmp_path / f"frame{i}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    Image.fromarray(numbered(99)).save(tmp_path / ".hidden.png")
    with open_video(tmp_path, fps=10) as video:
        assert numbers(video) == list(range(12))
        assert (video.fps, video.height, video.width) == (10, 96, 176)
        assert video.duration == pytest.approx(1.2)
        np.testing.assert_allclose(video.times, np.arange(12) / 10)
        video.check()
    with open_video(tmp_path, short_side=48) as video:
        assert video.fps == 25
        assert video.frames([3, 3]).shape == (2, 48, 88, 3)
    with pytest.raises(InputError, match="cannot be shown at 0 frames per second"):
        open_video(tmp_path, fps=0)


def test_written_frames_are_read_back(tmp_path):
    frames = [numbered(i) for i in range(5)]
    with open_film(tmp_path / "film.png", 5, times=np.arange(5) / 5) as add:
        for frame in frames:
            add(frame)
    with open_video(tmp_path / "film", fps=5) as video:
        assert np.array_equal(video.frames(range(5)), frames)


def test_a_folder_that_is_no_film_is_named(tmp_path):
    with pytest.raises(VideoError, match="holds no pictures"):
        open_video(tmp_path)
    Image.fromarray(numbered(0)).save(tmp_path / "0.png")
    Image.fromarray(numbered(1, 64)).save(tmp_path / "1.png")
    with open_video(tmp_path) as video, pytest.raises(VideoError, match=r"1\.png: has 176 x 64 pixels"):
        video.frames([0, 1])


@pytest.mark.parametrize("ending", [".webp", ".png", ".apng"])
def test_animated_pictures_are_films(tmp_path, ending):
    pictures = [Image.fromarray(numbered(i)) for i in range(6)]
    kind = {".webp": {"format": "WEBP", "lossless": True}}.get(ending, {"format": "PNG"})
    pictures[0].save(
        tmp_path / f"a{ending}",
        save_all=True,
        append_images=pictures[1:],
        duration=[40, 40, 80, 40, 40, 120],
        **kind,
    )
    with open_video(tmp_path / f"a{ending}", "pyav") as video:
        assert numbers(video) == list(range(6))
        np.testing.assert_allclose(video.times, [0, 0.04, 0.08, 0.16, 0.2, 0.24])
        assert video.duration == pytest.approx(0.36)
        assert np.array_equal(video.frames([4])[0], np.asarray(pictures[4]))
        assert np.array_equal(video.frames([1])[0], np.asarray(pictures[1]))


def test_a_folder_of_frames_has_a_small_copy(tmp_path):
    for i in range(4):
        Image.fromarray(numbered(i)).save(tmp_path / f"{i}.png")
    resize_video(tmp_path, tmp_path / "copy.mp4", 96)
    with open_video(tmp_path / "copy.mp4", "pyav") as video:
        assert numbers(video) == [0, 1, 2, 3]
        assert video.fps == 25


def test_sixteen_bits_of_grey_are_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(8, 0)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    with open_video(tmp_path / "ramp.png") as video:
        assert np.array_equal(video.frames([0])[0, 0, :, 0], np.arange(256))


def test_a_picture_is_a_video_of_one_frame(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    picture = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter turn clockwise
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "b.PNG", exif=exif)
    with open_video(tmp_path / "a.png") as video:
        assert (video.num_frames, video.height, video.width) == (1, 20, 30)
        assert np.array_equal(video.frames([0, 0]), [pixels, pixels])
        assert video.times.tolist() == [0]
    with open_video(tmp_path / "b.PNG") as video:
        assert np.array_equal(video.frames([0])[0], np.rot90(pixels, -1))
    with open_video(tmp_path / "a.png", short_side=10) as video:
        assert video.frames([0]).shape == (1, 10, 15, 3)
    (tmp_path / "c.jpg").write_text("no picture")
    with pytest.raises(VideoError, match=r"c\.jpg: no picture"):
        open_video(tmp_path / "c.jpg")
