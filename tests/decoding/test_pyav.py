"""The exact reader shows what FFmpeg's own program shows, with the same times."""

import random
from fractions import Fraction

import av
import numpy as np
import pytest

from diffmae_video.decoding import VideoError, open_video
from diffmae_video.decoding.pyav import PyAVReader
from diffmae_video.decoding.small_copies import resize_video
from diffmae_video.errors import InputWarning
from tests.decoding.numbered import CASES, number, numbered, numbers

SHOWN = {  # by ffmpeg -vsync passthrough
    "lossless_cut.mp4": range(21, 50),
    "trimmed_head.mp4": range(13, 50),
    "cat_same_clock_sound.ts": [*range(30), *range(100, 130)],
    "cat_other_clock.ts": [*range(30), *range(100, 130)],
    "cat_three.ts": [*range(60), *range(100, 130), *range(60)],
    "starts_between_keys.ts": range(20, 60),
    "begins_in_open_gop.mkv": range(12, 60),
}


@pytest.mark.filterwarnings("ignore::diffmae_video.errors.InputWarning")
@pytest.mark.parametrize("backend", ["pyav", "decord"])
@pytest.mark.parametrize("name", SHOWN)
def test_frames_and_times_are_those_of_ffmpeg(name, backend):
    with open_video(CASES / name, backend) as video:
        assert numbers(video) == list(SHOWN[name])
        assert video.fps == 25
        np.testing.assert_allclose(video.times, np.arange(len(SHOWN[name])) / 25, atol=1e-6)
        assert video.duration == pytest.approx(len(SHOWN[name]) / 25)
        chance = random.Random(0)
        for index in chance.sample(range(video.num_frames), 10):
            assert number(video.frames([index])[0]) == SHOWN[name][index]
        video.check()


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("cat_other_clock.ts", "its clock breaks 1 time; its parts are played without gaps"),
        ("starts_between_keys.ts", "begins between key frames, .* 11 are skipped"),
    ],
)
def test_what_is_mended_is_said_once(name, note):
    with pytest.warns(InputWarning, match=note) as caught:
        open_video(CASES / name).close()
    assert len(caught) == 1


@pytest.mark.parametrize(
    ("matrix", "upright"),
    [
        ((1, 0, 0, 1), lambda x: x),
        ((-1, 0, 0, 1), lambda x: x[:, :, ::-1]),
        ((1, 0, 0, -1), lambda x: x[:, ::-1]),
        ((-1, 0, 0, -1), lambda x: x[:, ::-1, ::-1]),
        ((0, 1, 1, 0), lambda x: x.swapaxes(1, 2)),
        ((0, 1, -1, 0), lambda x: x.swapaxes(1, 2)[:, :, ::-1]),
        ((0, -1, 1, 0), lambda x: x.swapaxes(1, 2)[:, ::-1]),
        ((0, -1, -1, 0), lambda x: x.swapaxes(1, 2)[:, ::-1, ::-1]),
    ],
)
def test_all_orientations_come_upright_and_so_do_copies(tmp_path, matrix, upright):
    a, b, c, d = (65536 * value for value in matrix)
    stored = np.stack([numbered(i) for i in (5, 700, 9)])
    stored[:, 40:] = np.linspace(20, 200, 176).astype(np.uint8)[:, None]
    with av.open(str(tmp_path / "film.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "5"})
        stream.height, stream.width, stream.pix_fmt = 96, 176, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        for frame in stored:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        out.mux(stream.encode(None))
    resize_video(tmp_path / "film.mp4", tmp_path / "copy.mp4", 96, crf=5)
    for name in ("film.mp4", "copy.mp4"):
        for backend in ("pyav", "decord"):
            with open_video(tmp_path / name, backend) as video:
                frames = video.frames(range(3)).astype(int)
                assert video.aspect == (Fraction(4, 3) if a else Fraction(3, 4))
            assert frames.shape == upright(stored).shape
            assert np.abs(frames - upright(stored)).mean() < 4


def test_colours_are_not_rounded_down(real_clips):
    with av.open(str(real_clips["bikes"])) as container:
        frame = next(container.decode(video=0))
    planes = frame.to_ndarray().astype(float)
    height, width = frame.height, frame.width
    luma = (planes[:height] - 16) * 255 / 219
    chroma = planes[height:].reshape(2, height // 2, width // 2).repeat(2, 1).repeat(2, 2) - 128
    blue, red = (luma + 2 * (1 - k) * c * 255 / 224 for k, c in zip((0.114, 0.299), chroma, strict=True))
    green = (luma - 0.299 * red - 0.114 * blue) / 0.587
    exact = np.stack([red, green, blue], -1).clip(0, 255)
    with open_video(real_clips["bikes"], "pyav") as video:
        assert abs((video.frames([0])[0] - exact).mean()) < 0.1  # -1.3 on swscale's fast path


def test_colour_tags_are_read():
    with PyAVReader(str(CASES / "hlg.mp4")) as video:
        assert video.colours == (9, 9, 18, 1, 10)


def test_a_film_without_seeks_is_decoded_once(variants, monkeypatch):
    """Reading on from the last frame must not start over."""
    with PyAVReader(str(variants["mpeg4.avi"])) as video:
        assert not video.is_timed
        starts = []
        decode_from = video._decode_from
        monkeypatch.setattr(video, "_decode_from", lambda *args: starts.append(1) or decode_from(*args))
        parts = [video.frames(range(i, i + 10)) for i in range(0, 60, 10)]
        assert len(starts) == 1
        assert np.array_equal(np.concatenate(parts), video.frames(range(60)))


@pytest.mark.parametrize(("name", "keep"), [("short_gop.mkv", 0.5), ("no_index.ts", 0.503)])
def test_a_film_cut_in_half_is_bad_for_the_check_and_still_readable(variants, tmp_path, name, keep):
    whole = variants[name].read_bytes()
    cut = tmp_path / f"cut{variants[name].suffix}"
    cut.write_bytes(whole[: int(len(whole) * keep)])
    with PyAVReader(str(cut)) as video:
        assert 10 < video.num_frames < 60
        assert video.frames([5]).any()
        with pytest.raises(VideoError, match=r"cut\.\w+: is cut off: (it announces|its last packet)"):
            video.check()
    with PyAVReader(str(variants[name])) as video:
        video.check()


def test_a_relative_path_may_hold_a_colon(tmp_path, monkeypatch):
    (tmp_path / "12:30.mp4").write_bytes((CASES / "tracks.mp4").read_bytes())
    monkeypatch.chdir(tmp_path)
    with open_video("12:30.mp4", "pyav") as video:
        assert video.num_frames == 50


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
