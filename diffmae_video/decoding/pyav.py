"""The exact reader: PyAV, by presentation times, from the key frame before what is wanted."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from diffmae_video.decoding.base import VideoError, VideoReader, reason, resized
from diffmae_video.errors import require

ATTACHED_PICTURE = 0x400  # the disposition of a cover in a sound file
UNSPECIFIED = 2  # a matrix of colours (AVCOL_SPC_UNSPECIFIED)


class PyAVReader(VideoReader):
    """PyAV, on the container's default video stream, with one decoding thread.

    All packets are looked through when it is opened, undecoded: frame i is the one with the i-th
    smallest presentation time, whatever a container says of its length and rate. Frames come
    upright, by the container's display matrix.

    Raises:
        VideoError: no video stream, no frame, or a file that is cut off.
    """

    def __init__(self, path: str, short_side: int | None = None) -> None:
        self.av = require("av", "video")
        # One converter for all frames: a frame's own would set itself up anew, which takes longer
        # than the decoding.
        self.converter = require("av.video.reformatter", "video").VideoReformatter()
        self.errors = (self.av.FFmpegError, OSError, ValueError)
        self.path = path
        try:
            self.container = self.av.open(path)
        except self.errors as error:
            raise VideoError(f"{path}: PyAV cannot read it ({reason(error)})") from error
        try:
            self._look_through()
            self.turns, (height, width) = self._first_frame()
        except self.errors as error:
            self.close()
            if isinstance(error, VideoError):
                raise
            raise VideoError(f"{path}: PyAV cannot decode it ({reason(error)})") from error
        context = self.stream.codec_context
        self.has_matrix = int(context.colorspace) != UNSPECIFIED
        self.aspect = Fraction(self.stream.sample_aspect_ratio or context.sample_aspect_ratio or 1)
        if self.turns % 2:
            height, width = width, height
            self.aspect = 1 / self.aspect
        self.height, self.width = resized(height, width, short_side)

    def _look_through(self) -> None:
        streams = [s for s in self.container.streams.video if not s.disposition & ATTACHED_PICTURE]
        if not streams:
            raise VideoError(f"{self.path}: has no video stream")
        best = self.container.streams.best("video")
        self.stream: Any = best if best in streams else streams[0]
        self.stream.thread_type = "NONE"
        context, kind = self.stream.codec_context, self.container.format.name
        count = 0
        shown: list[int] = []
        marked: list[int] = []  # key frames, as the container has it
        keys: list[int] = []
        for packet in self.container.demux(self.stream):
            count += packet.size > 0
            if packet.size and not packet.is_discard:
                shown.append(packet.pts)
                if packet.is_keyframe:
                    marked.append(packet.pts)
                    # H.264 files mark points of gradual refresh too
                    if context.name != "h264" or is_idr(packet, context.extradata):
                        keys.append(packet.pts)
        # of an AVI the header counts frames too that repeat the one before, and are not stored
        if "mp4" in kind and count < self.stream.frames:
            raise VideoError(
                f"{self.path}: is cut off: it announces {self.stream.frames} frames and holds {count}"
            )
        if not shown:
            raise VideoError(f"{self.path}: holds no frame")
        self.num_frames = len(shown)
        is_stamped = None not in shown
        self.pts: list[int] = sorted(shown) if is_stamped else list(range(len(shown)))
        # The order of decoding must do where a frame has no time of its own. AVI has none for B-frames:
        # its times are those of decoding.
        self.is_timed = (
            is_stamped and len(set(shown)) == len(shown) and not (kind == "avi" and context.has_b_frames)
        )
        scale = float(self.stream.time_base) if is_stamped else 1 / self._stated_rate()
        self._times = (np.array(self.pts) - self.pts[0]) * scale
        span = float(self._times[-1])
        mean = (self.num_frames - 1) / span if span else self._stated_rate()
        # The stated rate is the exact one, where it is true.
        self.fps = self._stated_rate() if abs(mean / self._stated_rate() - 1) < 0.01 else mean
        self.keys = sorted(bisect.bisect_left(self.pts, pts) for pts in keys) if self.is_timed else []
        self.keys = self.keys or [0]
        self.has_closed_gops = self.is_timed and keys == marked and not _has_open_gop(shown, set(keys))

    def _stated_rate(self) -> float:
        return float(self.stream.average_rate or self.stream.guessed_rate or 1)

    def _first_frame(self) -> tuple[int, tuple[int, int]]:
        """Quarter turns against the clock that bring a frame upright, and its stored size."""
        for frame in self._decode_from(0, range(1)):  # any frame will do
            return round(frame.rotation / 90) % 4, (frame.height, frame.width)
        raise VideoError(f"{self.path}: holds no frame that can be decoded")

    @property
    def times(self) -> np.ndarray:
        return self._times

    def _decode_from(self, key: int | None, wanted: Sequence[int]) -> Iterator[Any]:
        """Decodes from a key frame on, or with None from the beginning; what is not wanted may be left out.

        A seek may come out elsewhere in containers without an index (MPEG-TS).
        """
        if key is None:
            number = self.stream.index
            self.container.close()
            self.container = self.av.open(self.path)
            self.stream = self.container.streams[number]
            self.stream.thread_type = "NONE"
        else:
            self.container.seek(self.pts[key] if self.is_timed else 0, stream=self.stream)
        context = self.stream.codec_context
        stamps = {self.pts[i] for i in wanted}
        for packet in self.container.demux(self.stream):
            # Frames that nothing refers to (most of H.264's B-frames) are decoded if wanted only.
            skips = self.is_timed and packet.size and packet.pts not in stamps
            context.skip_frame = "NONREF" if skips else "DEFAULT"
            yield from packet.decode()

    def decode(self, indices: list[int]) -> np.ndarray:
        out = np.empty((len(indices), self.height, self.width, 3), np.uint8)
        try:
            if self.is_timed:
                self._read_timed(indices, out)
            else:
                self._read_in_order(indices, out)
        except self.av.FFmpegError as error:
            raise VideoError(f"{self.path}: PyAV cannot decode it ({reason(error)})") from error
        return out

    def _read_timed(self, indices: list[int], out: np.ndarray) -> None:
        done, beginning = 0, False
        while done < len(indices):
            before = done
            key = self._key(indices[done])
            for frame in self._decode_from(None if beginning else key, indices[done:]):
                index = -1 if frame.pts is None else bisect.bisect_left(self.pts, frame.pts)
                if index > indices[done]:
                    break  # the seek went too far, or the frame was not decoded
                if index == indices[done]:
                    done = self._keep(frame, indices, done, out)
                    # on to the next frame that is wanted by a seek, where a key frame is on the way
                    if done == len(indices) or self._key(indices[done]) > index + 1:
                        break
            if done == before and beginning:
                raise VideoError(
                    f"{self.path}: frame {indices[done]} of {self.num_frames} could not be decoded"
                )
            beginning = done == before

    def _key(self, index: int) -> int:
        """The last key frame up to a frame."""
        return self.keys[max(0, bisect.bisect_right(self.keys, index) - 1)]

    def _read_in_order(self, indices: list[int], out: np.ndarray) -> None:
        done = 0
        for index, frame in enumerate(self._decode_from(None, indices)):
            if index == indices[done]:
                done = self._keep(frame, indices, done, out)
                if done == len(indices):
                    return
        raise VideoError(f"{self.path}: frame {indices[done]} of {self.num_frames} could not be decoded")

    def _keep(self, frame: Any, indices: list[int], done: int, out: np.ndarray) -> int:
        """Writes a frame to all its places, from ``done`` on; returns the place after them."""
        picture, index = self._picture(frame), indices[done]
        while done < len(indices) and indices[done] == index:
            out[done] = picture
            done += 1
        return done

    def _picture(self, frame: Any) -> np.ndarray:
        if frame.is_corrupt:
            raise VideoError(f"{self.path}: the frame at {frame.time} s is damaged")
        size = (self.width, self.height) if self.turns % 2 == 0 else (self.height, self.width)
        scaling = "BILINEAR" if size == (frame.width, frame.height) else "AREA"
        picture = self.converter.reformat(frame, *size, format="rgb24", interpolation=scaling).to_ndarray()
        return np.rot90(picture, self.turns)

    def check(self) -> None:
        """Decodes every frame.

        Raises:
            VideoError: one is missing or damaged.
        """
        count = 0
        try:
            for frame in self._decode_from(None, range(self.num_frames)):
                if frame.is_corrupt:
                    raise VideoError(f"{self.path}: the frame at {frame.time} s is damaged")
                count += 1
        except self.av.FFmpegError as error:
            raise VideoError(f"{self.path}: PyAV cannot decode it ({reason(error)})") from error
        if count < self.num_frames:
            raise VideoError(f"{self.path}: {count} of {self.num_frames} frames could be decoded")
        self.frames(sorted({0, self.num_frames // 2, self.num_frames - 1}))  # by a seek, as a run reads them

    def close(self) -> None:
        self.container.close()


def _has_open_gop(shown: Sequence[int], keys: set[int]) -> bool:
    """Whether a key frame is followed by frames that are shown before it."""
    key = None
    for pts in shown:
        key = pts if pts in keys else key
        if key is not None and pts < key:
            return True
    return False


def is_idr(packet: Any, extradata: bytes | None) -> bool:
    """Whether an H.264 packet holds an IDR picture, which decoding can start from exactly.

    Source: H.264, annex B, and ISO 14496-15 for packets whose NAL units are preceded by their lengths.
    """
    packet = bytes(packet)
    if not extradata or extradata[0] != 1:  # start codes
        return any(piece[:1] and piece[0] & 0x1F == 5 for piece in packet.split(b"\0\0\1")[1:])
    size, place = (extradata[4] & 3) + 1, 0
    while place + size < len(packet):
        length = int.from_bytes(packet[place : place + size], "big")
        if packet[place + size] & 0x1F == 5:
            return True
        place += size + length
    return False
