"""The exact reader: PyAV, by presentation times, from the key frame before the first frame asked for."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from diffmae_video.decoding.base import ColourTags, VideoError, VideoReader, reason, resized
from diffmae_video.decoding.clock import mend_clock
from diffmae_video.decoding.orientation import UPRIGHT, Orientation
from diffmae_video.decoding.packets import (
    has_open_gop,
    missing_end,
    missing_frames,
    open_container,
    read_packets,
    video_stream,
)
from diffmae_video.errors import require


class PyAVReader(VideoReader):
    """Reads the container's default video stream with one decoding thread.

    All packets are read when the file is opened, but not decoded: frame i is the one with the i-th
    smallest presentation time, whatever the container says about its length and rate. The frames are
    those that FFmpeg's own program shows: without what an edit list hides, and from the first frame that
    can be decoded. Clocks that restart or jump are mended. Frames are upright.

    Attributes:
        start: seconds on the container's own clock at which the first frame is shown.
        clock_offsets: seconds that are added to the container's clock in each stretch between two breaks.
        orientation: of the stored frames.
        keys: indices of the frames at which decoding can start.
        is_plain: every stored frame is shown, upright and with a time of its own, and GOPs are closed, so
            that a less careful reader finds the same frames.

    Raises:
        VideoError: the file has no video stream or no frame, or is cut off.
    """

    def __init__(self, path: str, short_side: int | None = None) -> None:
        self.av = require("av", "video")
        # Kept for all frames: setting up a converter for each one would take longer than decoding it.
        reformatter = require("av.video.reformatter", "video")
        self.converter, self.scalings = reformatter.VideoReformatter(), reformatter.Interpolation
        self.errors = (self.av.FFmpegError, OSError, ValueError)
        self.path = path
        try:
            self.container = open_container(path)
        except self.errors as error:
            raise VideoError(f"{path}: PyAV cannot read it ({reason(error)})") from error
        try:
            self._read_index()
            self._find_first_frame()
        except self.errors as error:
            self.close()
            if isinstance(error, VideoError):
                raise
            raise VideoError(f"{path}: PyAV cannot decode it ({reason(error)})") from error
        self.height, self.width = resized(*self._upright_size(), short_side)

    def _read_index(self) -> None:
        stream = video_stream(self.container)
        if stream is None:
            raise VideoError(f"{self.path}: has no video stream")
        self.stream: Any = stream
        stream.thread_type = "NONE"
        self.container_kind = kind = self.container.format.name
        self.packets = packets = read_packets(self.container, stream)
        if stream.frames and (missing := missing_frames(self.container, stream, packets)):
            raise VideoError(f"{self.path}: {missing}")
        shown = [i for i, is_shown in enumerate(packets.is_shown) if is_shown]
        if not shown:
            raise VideoError(f"{self.path}: holds no frame")

        self.tick = tick = Fraction(stream.time_base)
        self.clock_offsets: tuple[float, ...] = (0.0,)
        stamps = packets.pts
        is_stamped = None not in [stamps[i] for i in shown]
        may_break = self.container.format.flags & self.av.format.Flags.ts_discont.value
        if may_break and is_stamped and None not in packets.dts:
            clock = mend_clock(stamps, packets.dts, packets.is_key, float(1 / tick))
            stamps = list(clock.stamps)
            self.clock_offsets = tuple(float(offset * tick) for offset in clock.offsets)
        self.is_mended = len(self.clock_offsets) > 1
        if self.is_mended:
            self.notes += (
                f"{self.path}: its clock breaks {len(self.clock_offsets) - 1} times; the parts between are "
                "played without gaps",
            )
        self.packet_stamps = stamps
        in_order: list[Any] = [stamps[i] for i in shown]
        self.stamps: list[int] = sorted(in_order) if is_stamped else list(range(len(shown)))
        # Where a frame has no time of its own, frames are counted in the order of decoding. AVI has decoding
        # times only, and GIF marks every frame as a key frame.
        self.is_timed = (
            is_stamped
            and len(set(in_order)) == len(in_order)
            and not (kind == "avi" and stream.codec_context.has_b_frames)
            and kind != "gif"
            and (not self.is_mended or None not in packets.positions)
        )
        keys = {stamps[i] for i in shown if packets.is_key[i]}
        marked = {stamps[i] for i in shown if packets.is_marked[i]}
        self.key_stamps: list[int] = sorted(keys) if self.is_timed else []
        self.is_plain = (
            self.is_timed
            and not self.is_mended
            and len(shown) == len(packets.pts)
            and keys == marked
            and not has_open_gop(in_order, keys)
        )
        self.is_stamped = is_stamped
        self.cursor: tuple[int, Iterator[Any]] | None = None

    def _find_first_frame(self) -> None:
        """Finds the first frame that can be decoded, and drops those before it."""
        starts_with_key = bool(self.key_stamps) and self.key_stamps[0] == self.stamps[0]
        for frame in self._decode_from(self.key_stamps[0] if starts_with_key else None, self.stamps):
            if not frame.is_corrupt:
                break
        else:
            raise VideoError(f"{self.path}: holds no frame that can be decoded")
        self.stored_size = (frame.height, frame.width)
        matrix = frame.side_data.get("DISPLAYMATRIX")
        self.orientation = UPRIGHT
        if matrix is not None:
            self.orientation = Orientation.from_matrix(np.frombuffer(matrix, np.int32).tolist())
        skipped = 0
        if self.is_stamped and not starts_with_key and frame.pts is not None:
            skipped = bisect.bisect_left(self.stamps, frame.pts)
        if skipped:
            self.is_plain = False
            self.stamps = self.stamps[skipped:]
            self.key_stamps = [stamp for stamp in self.key_stamps if stamp >= self.stamps[0]]
            self.notes += (
                f"{self.path}: its first {skipped} frames cannot be decoded, because it begins between "
                "key frames; they are skipped",
            )
        self.is_plain = self.is_plain and self.orientation == UPRIGHT
        self.num_frames = len(self.stamps)
        self.keys = [bisect.bisect_left(self.stamps, stamp) for stamp in self.key_stamps] or [0]
        self._describe()

    def _describe(self) -> None:
        """Sets rate, times, colours and the aspect of pixels."""
        stream, context = self.stream, self.stream.codec_context
        stated = float(stream.average_rate or stream.guessed_rate or 1)
        scale = float(self.tick) if self.is_stamped else 1 / stated
        self._times = (np.array(self.stamps) - self.stamps[0]) * scale
        self.start = self.stamps[0] * scale
        span = float(self._times[-1])
        mean = (self.num_frames - 1) / span if span else stated
        # The stated rate is exact, where it is true.
        self.fps = stated if abs(mean / stated - 1) < 0.01 else mean
        last = [
            d for d, s in zip(self.packets.durations, self.packet_stamps, strict=True) if s == self.stamps[-1]
        ]
        self.last_duration = (last[0] * scale if self.is_stamped and last else 0) or 1 / self.fps
        self.colours = ColourTags(
            int(context.colorspace),
            int(context.color_primaries),
            int(context.color_trc),
            int(context.color_range),
            max((component.bits for component in context.format.components), default=8)
            if context.format
            else 8,
        )
        self.aspect = Fraction(stream.sample_aspect_ratio or context.sample_aspect_ratio or 1)
        if self.orientation.transposed:
            self.aspect = 1 / self.aspect

    def _upright_size(self) -> tuple[int, int]:
        height, width = self.stored_size
        return (width, height) if self.orientation.transposed else (height, width)

    @property
    def times(self) -> np.ndarray:
        return self._times

    @property
    def duration(self) -> float:
        return float(self._times[-1]) + self.last_duration

    def _decode_from(self, key: int | None, asked: Sequence[int]) -> Iterator[Any]:
        """Decodes from a key frame on, or with None from the file's beginning.

        A seek may end elsewhere in containers without an index (MPEG-TS).

        Args:
            key: the key frame's stamp.
            asked: the stamps of frames that must be decoded; others may be left out.
        """
        number = 0  # of the packet
        if key is None:
            index = self.stream.index
            self.container.close()
            self.container = open_container(self.path)
            self.stream = self.container.streams[index]
            self.stream.thread_type = "NONE"
        elif self.is_mended:  # by bytes, as the container's own clock is ambiguous
            number = self.packet_stamps.index(key)
            self.container.seek(
                self.packets.positions[number], stream=self.stream, unsupported_byte_offset=True
            )
        else:
            self.container.seek(key, stream=self.stream)
        context = self.stream.codec_context
        needed = set(asked)
        for packet in self.container.demux(self.stream):
            if packet.size and self.is_mended:
                if key is not None and packet.pos != self.packets.positions[number]:
                    return  # the seek ended elsewhere
                packet.pts, number = self.packet_stamps[number], number + 1
            # Frames that no other refers to (most of H.264's B-frames) are only decoded if asked for.
            skips = self.is_timed and packet.size and packet.pts not in needed
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
        done, from_beginning = 0, False
        while done < len(indices):
            before = done
            key = None if from_beginning else self._key(indices[done])
            for frame in self._decode_from(key, [self.stamps[i] for i in indices[done:]]):
                stamp, wanted = frame.pts, self.stamps[indices[done]]
                if stamp is not None and stamp > wanted:
                    break  # the seek went too far, or the frame was not decoded
                if stamp == wanted:
                    done = self._keep(frame, indices, done, out)
                    # A seek leads to the next frame that is asked for, where a key frame is on the way.
                    if done == len(indices) or (self._key(indices[done]) or 0) > stamp + 1:
                        break
            if done == before and key is None:
                raise VideoError(
                    f"{self.path}: frame {indices[done]} of {self.num_frames} could not be decoded"
                )
            from_beginning = done == before

    def _key(self, index: int) -> int | None:
        """The stamp of the last key frame up to a frame; None if there is none."""
        place = bisect.bisect_right(self.key_stamps, self.stamps[index])
        return self.key_stamps[place - 1] if place else None

    def _read_in_order(self, indices: list[int], out: np.ndarray) -> None:
        """Decodes every frame up to the last one asked for; the next call goes on from there if it can."""
        index, decoded = self.cursor or (0, iter(()))
        self.cursor = None
        if not index or index > indices[0]:
            index, decoded = 0, self._from_first_frame()
        done = 0
        for frame in decoded:
            if index == indices[done]:
                done = self._keep(frame, indices, done, out)
            index += 1
            if done == len(indices):
                self.cursor = (index, decoded)
                return
        raise VideoError(f"{self.path}: frame {indices[done]} of {self.num_frames} could not be decoded")

    def _from_first_frame(self) -> Iterator[Any]:
        """All frames in the order of decoding, without those at the beginning that cannot be decoded."""
        decoded = self._decode_from(None, self.stamps)
        return itertools.dropwhile(lambda frame: frame.is_corrupt, decoded)

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
        size = (self.height, self.width) if self.orientation.transposed else (self.width, self.height)
        scaling = "BILINEAR" if size == (frame.width, frame.height) else "AREA"
        # Without these two flags swscale rounds down: frames come out one level too dark. To planes of
        # green, blue and red, it then is as fast as to pixels of RGB without the flags if frames are scaled,
        # and takes 0.3 ms longer for 528 x 224 pixels if they are not.
        flags = self.scalings[scaling] | self.scalings["ACCURATE_RND"] | self.scalings["FULL_CHR_H_INT"]
        planes = self.converter.reformat(frame, *size, format="gbrp", interpolation=flags, threads=1)
        return self.orientation.upright(planes.to_ndarray())

    def check(self) -> None:
        """Decodes every frame.

        Raises:
            VideoError: a frame is missing or damaged, or the file is cut off.
        """
        if missing := missing_frames(self.container, self.stream, self.packets) or missing_end(self.path):
            raise VideoError(f"{self.path}: {missing}")
        count = 0
        try:
            for frame in self._from_first_frame():
                if frame.is_corrupt:
                    raise VideoError(f"{self.path}: the frame at {frame.time} s is damaged")
                count += 1
        except self.av.FFmpegError as error:
            raise VideoError(f"{self.path}: PyAV cannot decode it ({reason(error)})") from error
        if count < self.num_frames:
            raise VideoError(f"{self.path}: {count} of {self.num_frames} frames could be decoded")
        self.frames(sorted({0, self.num_frames // 2, self.num_frames - 1}))  # with seeks, as in training

    def close(self) -> None:
        self.container.close()
