"""The exact reader: PyAV, by presentation times, from the key frame before the first frame asked for."""

import bisect
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

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
from diffmae_video.decoding.reader import ColourTags, FasterReader, VideoError, VideoReader, reason, resized
from diffmae_video.errors import require

HEAD = 250  # frames at a file's beginning that are looked at for those that cannot be decoded
LARGEST_DELAY = 32  # packets that a decoder takes before it gives a frame of an earlier one: twice H.264's 16


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
            self._find_frames()
            self._describe()
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
        self._use(stream)
        self.container_kind = self.container.format.name
        self.packets = packets = read_packets(self.container, stream)
        if stream.frames and (missing := missing_frames(self.container, stream, packets)):
            raise VideoError(f"{self.path}: {missing}")
        self.tick = Fraction(stream.time_base)
        self.clock_offsets: tuple[float, ...] = (0.0,)
        self.packet_stamps = packets.pts
        may_break = self.container.format.flags & self.av.format.Flags.ts_discont.value
        if may_break and None not in packets.pts and None not in packets.dts:
            clock = mend_clock(packets.pts, packets.dts, packets.is_key, float(1 / self.tick))
            self.packet_stamps = clock.stamps
            self.clock_offsets = tuple(float(offset * self.tick) for offset in clock.offsets)
        breaks = len(self.clock_offsets) - 1
        if breaks:
            self.notes += (
                f"{self.path}: its clock breaks {breaks} time{'s' * (breaks > 1)}; its parts are played "
                "without gaps",
            )
        # Seeks by time stamp, except in MPEG-TS, which has no index, and in files whose clock breaks.
        self.seeks_by_byte = breaks > 0 or "mpegts" in self.container_kind
        self.dropped: set[int] = set()
        self.is_timed = True
        self.cursor: tuple[int, Iterator[tuple[Any, Any]]] | None = None
        self.key_stamps: list[int] = []

    def _find_frames(self) -> None:
        """Finds which packets are frames that can be shown, and in which order.

        A file that does not begin with a key frame is decoded up to its second key frame: what has not come
        out by then needs a frame from before the file's beginning.
        """
        packets, stamps = self.packets, self.packet_stamps
        shown = [number for number, is_shown in enumerate(packets.is_shown) if is_shown]
        if not shown:
            raise VideoError(f"{self.path}: holds no frame")
        leading = stamps[:HEAD]
        is_clean = packets.is_key[0] and None not in leading and stamps[0] == min(leading)
        if is_clean:
            self.key_packets = {stamps[0]: 0}
            frame = next(self._decode_from(stamps[0] if shown[0] == 0 else None), (None, None))[1]
        else:
            frame = self._drop_undecodable()
        if frame is None:
            raise VideoError(f"{self.path}: holds no frame that can be decoded")
        shown = [number for number in shown if number not in self.dropped]
        in_order = [stamps[number] for number in shown]
        self.num_frames = len(shown)
        self.is_stamped = None not in in_order
        self.stamps: list[int] = sorted(in_order) if self.is_stamped else list(range(len(shown)))
        context = self.stream.codec_context
        # Where a frame has no time of its own, frames are counted in the order of decoding. AVI has decoding
        # times only, and GIF marks every frame as a key frame.
        self.is_timed = (
            self.is_stamped
            and len(set(in_order)) == len(in_order)
            and not (self.container_kind == "avi" and context.has_b_frames)
            and self.container_kind != "gif"
            and not (self.seeks_by_byte and None in packets.positions)
        )
        keys = {stamps[n]: n for n in shown if packets.is_key[n]}
        marked = {stamps[n] for n in shown if packets.is_marked[n]}
        self.key_packets = keys if self.is_timed else {}
        self.key_stamps = sorted(self.key_packets)
        self.keys = [bisect.bisect_left(self.stamps, stamp) for stamp in self.key_stamps] or [0]

        matrix = frame.side_data.get("DISPLAYMATRIX")
        self.orientation = UPRIGHT
        if matrix is not None:
            self.orientation = Orientation.from_matrix(np.frombuffer(matrix, np.int32).tolist())
        self.stored_size = (frame.height, frame.width)
        self.is_plain = (
            self.is_timed
            and not self.seeks_by_byte
            and len(shown) == len(packets.pts)
            and set(keys) == marked
            and not has_open_gop(in_order, set(keys))
            and self.orientation == UPRIGHT
        )

    def _drop_undecodable(self) -> Any | None:
        """Notes the packets at the beginning that cannot be decoded; returns the first good frame, if any."""
        shown = [number for number, is_shown in enumerate(self.packets.is_shown) if is_shown]
        keys = [number for number, is_marked in enumerate(self.packets.is_marked) if is_marked]
        settled = keys[1] if len(keys) > 1 else len(self.packet_stamps)
        first, good = None, set()
        for number, frame in self._decode_from(None):
            if number is None:  # the decoder does not say which packet the frame is from
                return frame
            if not frame.is_corrupt:
                first = first or frame
                good.add(number)
            if number >= settled:
                break
            if len(good) == HEAD:
                settled = number - LARGEST_DELAY
                break
        if not good:
            return None
        self.dropped = {number for number in shown if number < min(settled, max(good)) and number not in good}
        if self.dropped:
            self.notes += (
                f"{self.path}: begins between key frames, and its first frames cannot be decoded; "
                f"{len(self.dropped)} are skipped",
            )
        return first

    def _describe(self) -> None:
        """Sets rate, times, colours and the aspect of pixels."""
        stream, context = self.stream, self.stream.codec_context
        stated = float(stream.average_rate or stream.guessed_rate or 1)
        scale = float(self.tick) if self.is_stamped else 1 / stated
        self.times = (np.array(self.stamps) - self.stamps[0]) * scale
        self.start = self.stamps[0] * scale
        span = float(self.times[-1])
        mean = (self.num_frames - 1) / span if span else stated
        # The stated rate is exact, unless it disagrees with the measured one.
        self.fps = stated if abs(mean / stated - 1) < 0.01 else mean
        last = [
            d for d, s in zip(self.packets.durations, self.packet_stamps, strict=True) if s == self.stamps[-1]
        ]
        self.duration = span + ((last[0] * scale if self.is_stamped and last else 0) or 1 / self.fps)
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

    def _use(self, stream: Any) -> None:
        """Prepares a stream for decoding in one thread, where frames know the number of their packet."""
        self.stream: Any = stream
        stream.thread_type = "NONE"
        stream.codec_context.flags |= self.av.codec.context.Flags.copy_opaque.value

    def _decode_from(self, key: int | None, asked: Sequence[int] | None = None) -> Iterator[tuple[Any, Any]]:
        """Decodes from a key frame on: numbers of packets and the frames that they hold.

        The number is None after a seek by time, which may end elsewhere.

        Args:
            key: the key frame's stamp; None for the file's beginning.
            asked: stamps of frames that must be decoded, in any case; None for all.
        """
        number: int | None = None
        if key is None:
            number, index = 0, self.stream.index
            self.container.close()
            self.container = open_container(self.path)
            self._use(self.container.streams[index])
        elif self.seeks_by_byte:
            number = self.key_packets[key]
            place = self.packets.positions[number]
            self.container.seek(place, stream=self.stream, unsupported_byte_offset=True)
        else:
            self.container.seek(key, stream=self.stream)
        context = self.stream.codec_context
        needed = None if asked is None else set(asked)
        for packet in self.container.demux(self.stream):
            stamp = packet.pts
            if number is not None and packet.size:
                if key is not None and packet.pos != self.packets.positions[number]:
                    return  # the seek ended elsewhere
                packet.opaque, stamp, number = number, self.packet_stamps[number], number + 1
            # Frames that no other refers to (most of H.264's B-frames) are only decoded if asked for.
            skips = self.is_timed and packet.size and needed is not None and stamp not in needed
            context.skip_frame = "NONREF" if skips else "DEFAULT"
            for frame in packet.decode():
                found = frame.opaque if number is not None else None
                if found not in self.dropped:
                    yield found, frame

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
            for number, frame in self._decode_from(key, [self.stamps[i] for i in indices[done:]]):
                stamp = frame.pts if number is None else self.packet_stamps[number]
                wanted = self.stamps[indices[done]]
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
            index, decoded = 0, self._decode_from(None)
        done = 0
        for _, frame in decoded:
            if index == indices[done]:
                done = self._keep(frame, indices, done, out)
            index += 1
            if done == len(indices):
                self.cursor = (index, decoded)
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
        size = (self.height, self.width) if self.orientation.transposed else (self.width, self.height)
        scaling = "BILINEAR" if size == (frame.width, frame.height) else "AREA"
        # Without these two flags swscale rounds down: frames come out one level too dark. To planes of
        # green, blue and red, it then is as fast as to pixels of RGB without the flags if frames are scaled,
        # and takes 0.3 ms longer for 528 x 224 pixels if they are not.
        flags = self.scalings[scaling] | self.scalings["ACCURATE_RND"] | self.scalings["FULL_CHR_H_INT"]
        planes = self.converter.reformat(frame, *size, format="gbrp", interpolation=flags, threads=1)
        return self.orientation.upright(planes.to_ndarray())

    def stored_frames(self) -> Iterator[Any]:
        """All frames from the first one on, as PyAV decodes them: neither upright nor resized.

        Raises:
            VideoError: a frame is damaged.
        """
        try:
            for _, frame in self._decode_from(None):
                if frame.is_corrupt:
                    raise VideoError(f"{self.path}: the frame at {frame.time} s is damaged")
                yield frame
        except self.av.FFmpegError as error:
            raise VideoError(f"{self.path}: PyAV cannot decode it ({reason(error)})") from error

    def check(self) -> None:
        """Decodes every frame.

        Raises:
            VideoError: a frame is missing or damaged, or the file is cut off.
        """
        if missing := missing_frames(self.container, self.stream, self.packets) or missing_end(self.path):
            raise VideoError(f"{self.path}: {missing}")
        count = sum(1 for _ in self.stored_frames())
        if count < self.num_frames:
            raise VideoError(f"{self.path}: {count} of {self.num_frames} frames could be decoded")
        self.frames(sorted({0, self.num_frames // 2, self.num_frames - 1}))  # with seeks, as in training

    def replaced_by(self, open_other: Callable[[], FasterReader]) -> VideoReader:
        """A faster reader of the same file if it finds the same number of frames, and else this one."""
        try:
            other = open_other()
        except VideoError:
            self.close()
            raise
        unused = self if other.held_frames == self.num_frames else other
        unused.close()
        return other if unused is self else self

    def close(self) -> None:
        self.container.close()
