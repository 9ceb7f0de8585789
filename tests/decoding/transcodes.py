"""Transcodes of a real clip, one for each thing that readers are known to trip over."""

import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

COUNT = 60
VARIABLE = list(itertools.accumulate([1, 2, 1, 5, 1, 3] * (COUNT // 6)))

# name: codec, encoder options, and what differs from a plain file
VARIANTS = {
    "closed_gop.mp4": ("libx264", {"bf": "3", "g": "250"}, {}),
    "short_gop.mkv": ("libx264", {"bf": "3", "g": "12"}, {}),
    "open_gop.mp4": ("libx264", {"bf": "3", "g": "15", "x264-params": "open-gop=1:b-pyramid=2"}, {}),
    "hevc.mp4": ("libx265", {"x265-params": "log-level=none:keyint=30:bframes=4"}, {}),
    "hevc_open_gop.mkv": ("libx265", {"x265-params": "log-level=none:keyint=20:open-gop=1"}, {}),
    "vp9.webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "g": "20"}, {}),
    "mpeg4.mp4": ("mpeg4", {"bf": "2", "g": "12"}, {}),
    "mpeg4.avi": ("mpeg4", {"bf": "2", "g": "12"}, {}),
    "h264.avi": ("libx264", {"bf": "3", "g": "20"}, {}),
    "gradual_refresh.mp4": ("libx264", {"x264-params": "intra-refresh=1:keyint=15"}, {}),
    "no_index.ts": ("libx264", {"bf": "2", "g": "20"}, {}),
    "variable_rate.mp4": ("libx264", {"bf": "3", "g": "20"}, {"times": VARIABLE}),
    "variable_rate.mkv": ("libx264", {"bf": "3", "g": "20"}, {"times": VARIABLE}),
    "turned_90.mp4": ("libx264", {}, {"rotation": 90}),
    "turned_180.mp4": ("libx264", {}, {"rotation": 180}),
    "turned_270.mov": ("libx264", {}, {"rotation": 270}),
    "two_streams.mp4": ("libx264", {}, {"streams": 2}),
    "two_streams.mkv": ("libx264", {}, {"streams": 2}),
    "odd_size.mp4": ("libx264", {}, {"size": (143, 175), "pixels": "yuv444p"}),
    "one_frame.mp4": ("libx264", {}, {"count": 1}),
}


def write_variant(path: Path, frames: list[np.ndarray], codec: str, options: dict, spec: dict) -> None:
    """Writes frames; of two streams the second is the default one, and the first holds negatives."""
    height, width = spec.get("size", frames[0].shape[:2])
    times = spec.get("times", range(len(frames)))
    with av.open(str(path), "w") as out:
        streams = []
        for _ in range(spec.get("streams", 1)):
            stream = out.add_stream(codec, rate=30, options=options)
            stream.height, stream.width, stream.pix_fmt = height, width, spec.get("pixels", "yuv420p")
            stream.thread_type = "NONE"
            if "rotation" in spec:
                stream.set_display_rotation(spec["rotation"])
            streams.append(stream)
        if len(streams) == 2:
            streams[0].disposition = 0
            streams[1].disposition = av.stream.Disposition.default
        for i, pixels in enumerate(frames[: spec.get("count", len(frames))]):
            for stream in streams:
                shown = pixels if stream is streams[-1] else 255 - pixels
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(shown[:height, :width]), "rgb24")
                frame.pts, frame.time_base = times[i], Fraction(1, 30)
                out.mux(stream.encode(frame))
        for stream in streams:
            out.mux(stream.encode(None))
