"""Readers against a plain loop over a file's frames, on real clips and their transcodes."""

import importlib.util
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation
from PIL import Image

from diffmae_video import InputError
from diffmae_video.data import VideoError, find_videos, open_video
from diffmae_video.decoding import BACKENDS
from diffmae_video.decoding.decord import DecordReader
from diffmae_video.decoding.small_copies import resize_video
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
        with open_video(variants[name]) as video:
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


def test_a_file_that_is_cut_off_is_named(variants, tmp_path):
    short = tmp_path / "short.mkv"
    short.write_bytes(variants["short_gop.mkv"].read_bytes()[:-20000])
    with open_video(short, "pyav") as video:  # Matroska announces no length: what is there is read
        assert video.num_frames < COUNT
    whole = tmp_path / "faststart.mp4"
    front = {"movflags": "faststart"}  # the index stands before the pictures
    with av.open(str(variants["closed_gop.mp4"])) as source, av.open(str(whole), "w", options=front) as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    for backend in ("decord", "pyav"):
        with pytest.raises(VideoError, match=r"cut\.mp4: is cut off: it announces 60 frames and holds \d+"):
            open_video(cut, backend)


def test_a_file_without_pictures_is_named(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=44100, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        sound.sample_rate = 44100
        out.mux(stream.encode(sound))
        out.mux(stream.encode(None))
    for backend in ("decord", "pyav"):
        with pytest.raises(VideoError, match=r"sound\.mp4: has no video stream"):
            open_video(path, backend)


def test_a_sound_file_with_a_cover_has_no_video_stream(tmp_path):
    path = tmp_path / "cover.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mjpeg", rate=1)
        stream.width = stream.height = 16
        stream.pix_fmt, stream.disposition = "yuvj420p", av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), "rgb24")
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with pytest.raises(VideoError, match=r"cover\.mp4: has no video stream"):
        open_video(path)


def test_frames_of_one_time_keep_the_clock(tmp_path):
    path = tmp_path / "twice.mkv"
    times = [0, 100, 200, 200, *range(300, 1300, 100)]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mjpeg", rate=10)
        stream.width = stream.height = 16
        stream.pix_fmt, stream.time_base = "yuvj420p", Fraction(1, 1000)
        for i, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 10 * i, np.uint8), "rgb24")
            for packet in stream.encode(frame):
                packet.pts = packet.dts = time
                packet.time_base = Fraction(1, 1000)
                out.mux(packet)
    with open_video(path, "pyav") as video:
        np.testing.assert_allclose(video.times, np.array(times) / 1000, atol=1e-6)
        assert [round(float(f.mean()) / 10) for f in video.frames(range(14))] == list(range(14))


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


@pytest.mark.parametrize("backend", INSTALLED)
def test_wrong_indices_are_refused(real_clips, backend):
    with open_video(real_clips["carphone_pristine"], backend) as video:
        for wrong in ([5, 3], [-1], [120]):
            with pytest.raises(VideoError, match="ascending indices below 120"):
                video.frames(wrong)


def test_unknown_backend():
    with pytest.raises(InputError, match="unknown reader 'vlc'; there are decord, pyav, torchcodec"):
        open_video("a.mp4", "vlc")


def test_a_folder_without_videos_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match="no video in it"):
        find_videos(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        find_videos(tmp_path / "none")


@pytest.mark.parametrize("name", ["turned_90.mp4", "turned_180.mp4", "turned_270.mov", "two_streams.mkv"])
def test_a_small_copy_shows_what_its_source_shows(variants, tmp_path, name):
    resize_video(variants[name], tmp_path / "copy.mp4", 72)
    with open_video(tmp_path / "copy.mp4") as copy, open_video(variants[name], short_side=72) as source:
        assert (copy.num_frames, copy.height, copy.width) == (COUNT, source.height, source.width)
        assert np.abs(copy.frames([0, 30]).astype(int) - source.frames([0, 30])).mean() < 5


@pytest.mark.parametrize("space", ["bt709", "smpte170m"])
def test_a_small_copy_has_the_colours_of_its_source(tmp_path, space):
    number = {"bt709": 1, "smpte170m": 6}[space]
    with av.open(str(tmp_path / "green.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt, context = "yuv420p", stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = number
        for i in range(4):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), (32, 192, 64), np.uint8), "rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=number)
            frame.pts, frame.time_base = i, Fraction(1, 10)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    resize_video(tmp_path / "green.mp4", tmp_path / "copy.mp4", 32)
    colours = []
    for name in ("green.mp4", "copy.mp4"):
        with open_video(tmp_path / name, "pyav") as video:
            colours.append(video.frames([2])[0].mean((0, 1)))
    np.testing.assert_allclose(colours[0], (32, 192, 64), atol=6)
    np.testing.assert_allclose(colours[1], colours[0], atol=4)


def test_a_small_copy_has_all_frames(real_clips, tmp_path):
    copy = tmp_path / "ä b.mp4"
    resize_video(real_clips["bikes"], copy, 96)
    with open_video(copy) as small, open_video(real_clips["bikes"]) as large:
        assert (small.num_frames, small.fps, small.height, small.width) == (250, 25.0, 96, 226)
        pixels = large.frames([100])[0, :270, :636].reshape(90, 3, 212, 3, 3).mean((1, 3))
        copied = small.frames([100])[0].mean((0, 1))
    np.testing.assert_allclose(copied, pixels.mean((0, 1)), atol=2)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match="cannot read it"):
        resize_video(tmp_path / "text.mp4", tmp_path / "out.mp4", 96)
    assert not (tmp_path / "out.mp4").exists()
