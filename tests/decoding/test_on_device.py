"""torchcodec on the training device."""

import importlib.util

import numpy as np
import pytest

from diffmae_video.decoding import VideoError, open_video
from diffmae_video.decoding import on_device as module
from diffmae_video.decoding.on_device import decode_on_device, device_problem
from diffmae_video.decoding.storage import MemoryFile
from diffmae_video.errors import InputError

needs_torchcodec = pytest.mark.skipif(
    not importlib.util.find_spec("torchcodec"), reason="torchcodec is not installed"
)


def test_the_film_that_is_tried_out_can_be_decoded():
    file = MemoryFile(module._small_video(), ".mp4")
    with open_video(file.path, "pyav") as video:
        assert (video.num_frames, video.height, video.width) == (2, 256, 256)


def test_a_missing_torchcodec_is_the_problem(monkeypatch):
    def missing():
        raise InputError("this needs torchcodec")

    monkeypatch.setattr(module, "torchcodec_decoders", missing)
    assert device_problem("cuda:0") == "this needs torchcodec"


@needs_torchcodec
def test_frames_are_those_of_the_exact_reader(real_clips):
    path = real_clips["bikes"]
    with open_video(path, "pyav") as video:
        frames = decode_on_device(path.read_bytes(), str(path), video.num_frames, [0, 5, 9], "cpu")
        exact = video.frames(range(12)).astype(int)
        # Colours are interpolated differently, so the nearest of the exact frames must be the right one.
        distances = [np.abs(exact - frame).mean((1, 2, 3)) for frame in frames.numpy()]
        assert [int(distance.argmin()) for distance in distances] == [0, 5, 9]
        assert max(distance.min() for distance in distances) < 3
        with pytest.raises(VideoError, match=f"torchcodec finds {video.num_frames} frames in it, and PyAV 7"):
            decode_on_device(path.read_bytes(), str(path), 7, [0], "cpu")
    with pytest.raises(VideoError, match=r"x\.mp4: torchcodec cannot decode it on cpu"):
        decode_on_device(b"no video", "x.mp4", 7, [0], "cpu")
    assert device_problem("cpu") == ""
