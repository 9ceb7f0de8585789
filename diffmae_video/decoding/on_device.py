"""Decodes encoded videos with torchcodec on the training device."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from diffmae_video.decoding.reader import VideoError, reason
from diffmae_video.decoding.torchcodec import torchcodec_decoders
from diffmae_video.errors import InputError, require

ERRORS = (RuntimeError, ValueError, IndexError)  # of torchcodec


def decode_on_device(data: Any, path: str, num_frames: int, indices: list[int], device: str) -> Any:
    """Frames at ascending indices: a uint8 tensor [n, H, W, 3] on the device.

    Args:
        data: the video file, bytes or a uint8 tensor.
        path: of the video, for messages.
        num_frames: that the exact reader finds in it.
        device: ``cuda:0``, or ``cpu``.

    Raises:
        VideoError: torchcodec cannot decode it, or finds another number of frames.
        InputError: torchcodec is not installed or does not load.
    """
    decoders = torchcodec_decoders()
    try:
        decoder = decoders.VideoDecoder(data, dimension_order="NHWC", device=device)
        if decoder.metadata.num_frames != num_frames:
            raise VideoError(
                f"{path}: torchcodec finds {decoder.metadata.num_frames} frames in it, and PyAV {num_frames}"
            )
        return decoder.get_frames_at(indices).data
    except ERRORS as error:
        if isinstance(error, InputError):
            raise
        raise VideoError(f"{path}: torchcodec cannot decode it on {device} ({reason(error)})") from error


def device_problem(device: str) -> str:
    """Why a device cannot decode H.264; empty if it can, which is tried out."""
    try:
        frames = decode_on_device(_small_video(), "a test film", 2, [0, 1], device)
    except (InputError, *ERRORS) as error:
        return reason(error)
    return "" if frames.shape[0] == 2 else "it returns another number of frames"


def _small_video() -> bytes:
    """Two frames of 256 x 256 pixels in H.264."""
    av = require("av", "video")
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 256
        stream.pix_fmt = "yuv420p"
        for level in (0, 128):
            frame = av.VideoFrame.from_ndarray(np.full((256, 256, 3), level, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()
