"""What is read off packets: key frames, and files that are cut off or hold no pictures."""

import av
import numpy as np
import pytest

from diffmae_video.decoding import VideoError, open_video
from diffmae_video.decoding.packets import has_open_gop, is_idr, missing_end
from tests.decoding.transcodes import COUNT


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


def test_a_transport_stream_of_incomplete_packets_is_cut_off(variants, tmp_path):
    whole = tmp_path / "whole.ts"
    with av.open(str(variants["closed_gop.mp4"])) as source, av.open(str(whole), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    assert missing_end(whole) == ""
    cut = tmp_path / "cut.ts"
    cut.write_bytes(whole.read_bytes()[:-88])
    assert missing_end(cut) == "is cut off: its last packet holds 100 of 188 bytes"


@pytest.mark.parametrize(
    ("times", "is_open"),
    [([0, 1, 2, 10, 11], False), ([0, 2, 1, 10, 8, 9, 11], True), ([1, 0, 2], False)],
)
def test_an_open_gop_has_frames_that_are_shown_before_its_key_frame(times, is_open):
    assert has_open_gop(times, {0, 10}) == is_open


@pytest.mark.parametrize(("kind", "expected"), [(5, True), (1, False)])
def test_an_idr_picture_is_found_with_start_codes_and_with_lengths(kind, expected):
    units = [bytes([0x67, 1, 2]), bytes([0x60 | kind, 3, 4, 5])]
    assert is_idr(b"".join(b"\0\0\0\1" + unit for unit in units), None) == expected
    with_lengths = b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)
    assert is_idr(with_lengths, bytes([1, 100, 0, 31, 0xFF])) == expected
