"""Readers against each other on real clips, and against broken files."""

import numpy as np
import pytest

from diffmae_video import InputError
from diffmae_video.data import VideoError, find_videos, open_video
from diffmae_video.data.readers import BACKENDS
from diffmae_video.data.resize import resize_video

KNOWN = {
    "bikes": (250, 25.0, 272, 640),
    "bigbuckbunny": (132, 25.0, 720, 1280),
    "carphone_pristine": (120, 29.97, 144, 176),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", KNOWN)
def test_what_a_reader_says_of_a_clip(real_clips, name, backend):
    with open_video(real_clips[name], backend) as video:
        assert (video.num_frames, round(video.fps, 2), video.height, video.width) == KNOWN[name]
        frames = video.frames([0, 7, 7, 40])
    assert frames.dtype == np.uint8
    assert frames.shape == (4, *KNOWN[name][2:], 3)
    assert np.array_equal(frames[1], frames[2])


@pytest.mark.parametrize("name", ["bikes", "carphone_pristine"])
def test_readers_agree_on_every_index(real_clips, name):
    indices = [0, 1, 5, 30, 31, 77, 119]
    with open_video(real_clips[name], "decord") as one, open_video(real_clips[name], "pyav") as two:
        a, b = one.frames(indices).astype(int), two.frames(indices).astype(int)
    # One frame off is a difference of tens of levels somewhere; colour conversion is within two.
    assert np.abs(a - b).max() <= 2
    with open_video(real_clips[name]) as video:  # sparse and sequential reads are the same
        assert np.array_equal(video.frames(range(120))[indices], a)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"", "the file is empty"), (b"no video\n" * 50, "cannot read it")],
)
def test_what_is_no_video_is_named(tmp_path, backend, content, message):
    path = tmp_path / "my video.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VideoError, match=f"my video.mp4.*{message}"):
        open_video(path, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_wrong_indices_are_refused(real_clips, backend):
    with open_video(real_clips["carphone_pristine"], backend) as video:
        for wrong in ([5, 3], [-1], [120]):
            with pytest.raises(VideoError, match="ascending indices below 120"):
                video.frames(wrong)


def test_unknown_backend():
    with pytest.raises(InputError, match="unknown reader 'vlc'; there are decord, pyav"):
        open_video("a.mp4", "vlc")


def test_a_folder_without_videos_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match="no video in it"):
        find_videos(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        find_videos(tmp_path / "none")


def test_a_small_copy_has_all_frames(real_clips, tmp_path):
    copy = tmp_path / "ä b.mp4"
    resize_video(real_clips["bikes"], copy, 96)
    with open_video(copy) as small, open_video(real_clips["bikes"]) as large:
        assert (small.num_frames, small.fps, small.height, small.width) == (250, 25.0, 96, 226)
        pixels = large.frames([100])[0, :270, :636].reshape(90, 3, 212, 3, 3).mean((1, 3))
        copied = small.frames([100])[0].mean((0, 1))
    np.testing.assert_allclose(copied, pixels.mean((0, 1)), atol=2)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match="cannot be converted"):
        resize_video(tmp_path / "text.mp4", tmp_path / "out.mp4", 96)
    assert not (tmp_path / "out.mp4").exists()
