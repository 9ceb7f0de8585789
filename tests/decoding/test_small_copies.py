"""Small copies of videos: frames, orientation and colours."""

from fractions import Fraction

import av
import numpy as np
import pytest

from diffmae_video.decoding import VideoError, open_video
from diffmae_video.decoding.small_copies import resize_video
from tests.decoding.transcodes import COUNT


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
