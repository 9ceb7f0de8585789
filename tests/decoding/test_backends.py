"""Readers against a plain loop over a file's frames, on real clips and their transcodes."""

import importlib.util

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation

from diffmae_video import InputError
from diffmae_video.data import VideoError, open_video
from diffmae_video.decoding import BACKENDS
from diffmae_video.decoding.decord import DecordReader
from tests.decoding.transcodes import COUNT, VARIABLE, VARIANTS

KNOWN = {
    "bikes": (250, 25.0, 272, 640),
    "bigbuckbunny": (132, 25.0, 720, 1280),
    "carphone_pristine": (120, 29.97, 144, 176),
}
INSTALLED = [b for b in BACKENDS if b != "torchcodec" or importlib.util.find_spec("torchcodec")]


@pytest.mark.parametrize("backend", INSTALLED)
@pytest.mark.parametrize("name", KNOWN)
def test_what_a_reader_says_of_a_clip(real_clips, name, backend):
    with open_video(real_clips[name], backend) as video:
        assert (video.num_frames, round(video.fps, 2), video.height, video.width) == KNOWN[name]
        frames = video.frames([0, 7, 7, 40])
        assert video.frames([]).shape == (0, *KNOWN[name][2:], 3)
        assert video.times[40] == pytest.approx(40 / KNOWN[name][1], abs=1e-3)
    assert frames.dtype == np.uint8
    assert frames.shape == (4, *KNOWN[name][2:], 3)
    assert np.array_equal(frames[1], frames[2])


def every_frame(path, is_fast=False):
    """All frames in the order in which they are shown, upright: the truth, by a plain loop.

    Args:
        is_fast: convert colours on swscale's fast path, as decord does.
    """
    flags = "BILINEAR" if is_fast else Interpolation.BILINEAR | 0x40000 | 0x2000  # accurate, full chroma
    with av.open(str(path)) as video:
        decoded = list(video.decode(video.streams.best("video")))
        rotations = [round(f.rotation / 90) for f in decoded]
        pixels = [f.reformat(format="rgb24", interpolation=flags).to_ndarray() for f in decoded]
    return np.stack([np.rot90(p, turns) for p, turns in zip(pixels, rotations, strict=True)])


@pytest.mark.parametrize("backend", INSTALLED)
@pytest.mark.parametrize("name", VARIANTS)
def test_every_reader_returns_the_frame_of_the_index(variants, name, backend):
    with open_video(variants[name], backend) as video:
        truth = every_frame(variants[name], isinstance(video, DecordReader)).astype(int)
    assert len(truth) == VARIANTS[name][2].get("count", COUNT)
    reads = ([0, 3, 5, 8, 40, 41, 59], [59], [17], [30, 31, 47], range(COUNT), [29, 58], [3, 3, 58])
    for read in [[i for i in read if i < len(truth)] for read in reads]:
        with open_video(variants[name], backend) as video:
            assert video.num_frames == len(truth)
            assert (video.height, video.width) == truth.shape[1:3]
            frames = video.frames(read)
        # Another frame is tens of levels away somewhere; two conversions of one differ by a few.
        assert np.abs(frames - truth[read]).max(initial=0) <= 3, (name, backend, list(read))
    with open_video(variants[name], backend) as video:  # one reader, backwards and forwards
        for i in (len(truth) - 1, 0, len(truth) // 2):
            assert np.abs(video.frames([i])[0] - truth[i]).max() <= 3


def test_decord_reads_what_it_reads_exactly_and_pyav_the_rest(variants):
    def is_decords(name):
        with open_video(variants[name], "decord") as video:
            return isinstance(video, DecordReader)

    assert [name for name in VARIANTS if is_decords(name)] == [
        *("closed_gop.mp4", "short_gop.mkv", "vp9.webm", "variable_rate.mp4", "variable_rate.mkv"),
        *("odd_size.mp4", "one_frame.mp4"),
    ]


@pytest.mark.parametrize("name", ["variable_rate.mp4", "variable_rate.mkv"])
def test_times_of_a_variable_rate(variants, name):
    for backend in ("decord", "pyav"):
        with open_video(variants[name], backend) as video:
            np.testing.assert_allclose(video.times, (np.array(VARIABLE) - 1) / 30, atol=1e-3)
            assert video.fps == pytest.approx(30 * (COUNT - 1) / (VARIABLE[-1] - 1), rel=0.01)


@pytest.mark.parametrize("backend", INSTALLED)
def test_frames_are_made_smaller_as_they_are_decoded(real_clips, variants, backend):
    with open_video(real_clips["bikes"], backend, 68) as small, open_video(real_clips["bikes"]) as large:
        assert (small.height, small.width) == (68, 160)
        frames = small.frames([0, 9])
        truth = large.frames([0, 9]).reshape(2, 68, 4, 160, 4, 3).mean((2, 4))
    assert frames.shape == (2, 68, 160, 3)
    assert np.abs(frames - truth).mean() < 4  # one frame further it is 9
    with open_video(variants["turned_90.mp4"], backend, 72) as video:
        assert video.frames([5]).shape == (1, 88, 72, 3)
    with open_video(variants["turned_90.mp4"], backend, 4000) as video:
        assert video.frames([5]).shape == (1, 176, 144, 3)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"", "the file is empty"), (b"no video\n" * 50, "cannot read it")],
)
def test_what_is_no_video_is_named(tmp_path, backend, content, message):
    if backend not in INSTALLED:
        pytest.skip("torchcodec is not installed")
    path = tmp_path / "my video.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VideoError, match=f"my video.mp4.*{message}"):
        open_video(path, backend)


@pytest.mark.parametrize("backend", INSTALLED)
def test_wrong_indices_are_refused(real_clips, backend):
    with open_video(real_clips["carphone_pristine"], backend) as video:
        for wrong in ([5, 3], [-1], [120]):
            with pytest.raises(VideoError, match="ascending indices below 120"):
                video.frames(wrong)


def test_unknown_backend():
    with pytest.raises(InputError, match="unknown reader 'vlc'; there are decord, pyav, torchcodec"):
        open_video("a.mp4", "vlc")
