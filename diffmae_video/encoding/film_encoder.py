"""Encodes the frames of a film: size, times, colours and the aspect of pixels."""

import warnings
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image

from diffmae_video.decoding.reader import ColourTags, VideoReader
from diffmae_video.errors import InputWarning, require

TICKS = 90_000  # per second, if every frame has its own time stamp
GIF_CLOCK = Fraction(1, 100)  # GIF's time base, seconds
GIF_LEAST = 2  # ticks of a frame: browsers play shorter ones at a tenth of a second
STEADY = 2e-3  # seconds by which a frame of a steady film may be early or late; some containers round to 1 ms
# Matrices of colours that swscale converts to, by their code points in H.273, with swscale's number.
MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
BT709, BT601, UNSPECIFIED, LIMITED, FULL = 1, 5, 2, 1, 2
BT2020, PQ, HLG = 9, 16, 18
SQUARE_ONLY = (".webm", ".gif")  # PyAV cannot write the aspect of pixels there
CODECS = {".mp4": "libx264", ".webm": "libvpx-vp9", ".gif": "gif"}


class VideoEncoder:
    """Turns frames into packets of one stream. The first frame sets the size.

    Args:
        container: PyAV's, open for writing.
        ending: ``.mp4``, ``.webm`` or ``.gif``.
        fps: frames per second.
        crf: quality of mp4 and WebM; less is better.
        times: of the frames in seconds. If they are steady, ``fps`` alone counts.
        light: use settings that need less memory.
        like: the film that the frames were read from.
        delay: seconds before the first frame.
    """

    def __init__(
        self,
        container: Any,
        ending: str,
        fps: float,
        crf: int,
        times: np.ndarray | None,
        light: bool,
        like: VideoReader | None,
        delay: float,
    ) -> None:
        self.av, self.ending, self.count, self.delay = require("av", "video"), ending, 0, delay
        self.flags = require("av.video.reformatter", "video").Interpolation
        self.rate = Fraction(fps).limit_denominator(1001)
        is_steady = times is None or np.abs(times - np.arange(len(times)) / fps).max() <= STEADY
        self.times = None if is_steady else times
        self.last_duration = 1 / fps
        if self.times is not None and like is not None and like.num_frames == len(self.times):
            self.last_duration = like.duration - float(self.times[-1])
        self.aspect = like.aspect if like else Fraction(1)
        self.colours = like.colours if like else ColourTags(BT601, range=LIMITED)
        self.clock, self.least = 1 / self.rate if self.times is None else Fraction(1, TICKS), 1
        if ending == ".gif":
            self.clock, self.least = GIF_CLOCK, GIF_LEAST
        elif delay and self.times is None:
            self.clock = Fraction(1, TICKS)
        self.last = -self.least
        self.durations: dict[int, int] = {}
        self.stream = self._add_stream(container, crf, light)

    def _add_stream(self, container: Any, crf: int, light: bool) -> Any:
        codec, options = CODECS[self.ending], {"crf": str(crf), "preset": "medium"}
        is_deep = self.colours.bits > 8 and self.ending == ".mp4"
        if is_deep:  # players support 10-bit HEVC but not 10-bit H.264
            codec, options["x265-params"] = "libx265", "log-level=error"
        if self.times is not None:
            # MP4 stores the time between decoding two frames. Only without B-frames is that how long a frame
            # is shown.
            options |= {"bf": "0"}
        if self.ending == ".webm":
            options = {"crf": str(crf), "b": "0", "cpu-used": "4", "row-mt": "1"}
        if light:
            options |= (
                {"lag-in-frames": "0"} if self.ending == ".webm" else {"preset": "veryfast", "threads": "1"}
            )
        if self.ending == ".gif":
            options = {}
        stream = container.add_stream(codec, rate=self.rate, options=options)
        context = stream.codec_context
        context.time_base = self.clock
        if self.ending == ".gif":
            stream.pix_fmt = "pal8"
            _warn_of_lost_colours(self.ending, self.colours)
            return stream
        stream.pix_fmt = "yuv420p10le" if is_deep else "yuv420p"
        if codec == "libx265":
            context.codec_tag = "hvc1"  # the name that Apple's players ask for
        if self.ending not in SQUARE_ONLY:
            context.sample_aspect_ratio = self.aspect
        matrix, primaries, transfer, levels, _ = self.colours
        # Players assume BT.709 for large frames without tags. They treated the source the same way, so
        # unspecified tags stay unspecified.
        self.matrix = BT601 if matrix == UNSPECIFIED else matrix if matrix in MATRICES else BT709
        context.colorspace = UNSPECIFIED if matrix == UNSPECIFIED else self.matrix
        context.color_primaries, context.color_trc = primaries, transfer
        self.range = FULL if levels == FULL else LIMITED
        context.color_range = self.range if levels else 0
        return stream

    @property
    def seconds(self) -> float:
        """When the next frame is due."""
        if self.times is None:
            return float(self.count / self.rate) + self.delay
        return float(self.times[min(self.count, len(self.times) - 1)]) + self.delay

    def encode(self, frame: np.ndarray | None) -> list[Any]:
        """The packets that a frame uint8 [H, W, 3] makes ready; None for the last ones."""
        if frame is None:
            return self._timed(self.stream.encode(None))
        picture = self._indexed(frame) if self.ending == ".gif" else self._converted(frame)
        if not self.stream.codec_context.is_open:
            self.stream.height, self.stream.width = picture.height, picture.width
        # Frames that a clock cannot tell apart follow one another: equal times cannot be written.
        self.last = max(self.last + self.least, round(Fraction(self.seconds) / self.clock))
        picture.time_base, picture.pts = self.clock, self.last
        if self.times is not None:
            ends = [*self.times[1:], self.times[-1] + self.last_duration]
            seconds = float(ends[self.count] - self.times[self.count])
            self.durations[self.last] = max(self.least, round(Fraction(seconds) / self.clock))
        self.count += 1
        return self._timed(self.stream.encode(picture))

    def _timed(self, packets: list[Any]) -> list[Any]:
        """Sets how long frames of a variable rate are shown: a container would guess the last one."""
        for packet in packets:
            if packet.pts in self.durations:
                packet.duration = self.durations.pop(packet.pts)
        return packets

    def _shown_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) with square pixels where the container cannot say that they are not."""
        if self.ending not in SQUARE_ONLY or self.aspect == 1:
            return height, width
        aspect = float(self.aspect)
        return round(height * max(1.0, 1 / aspect)), round(width * max(1.0, aspect))

    def _converted(self, frame: np.ndarray) -> Any:
        height, width = frame.shape[:2]
        shown = self._shown_size(height, width)
        if shown == (height, width):  # an odd side repeats its last row or column
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        height, width = (side + side % 2 for side in shown)
        picture = self.av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        return picture.reformat(
            width,
            height,
            self.stream.pix_fmt,
            dst_colorspace=MATRICES[self.matrix],
            dst_color_range=self.range,
            interpolation=self.flags.BICUBIC | self.flags.ACCURATE_RND | self.flags.FULL_CHR_H_INP,
        )

    def _indexed(self, frame: np.ndarray) -> Any:
        height, width = self._shown_size(*frame.shape[:2])
        picture = Image.fromarray(frame)
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        picture = picture.quantize(256)
        colours = np.array(picture.getpalette(), np.uint8).reshape(-1, 3)
        palette = np.full((256, 4), 255, np.uint8)  # alpha, red, green, blue
        palette[: len(colours), 1:] = colours
        return self.av.VideoFrame.from_ndarray((np.asarray(picture), palette), format="pal8")


def _warn_of_lost_colours(ending: str, colours: ColourTags) -> None:
    if colours.primaries == BT2020 or colours.transfer in (PQ, HLG):
        warnings.warn(
            f"{ending} cannot store the colour tags of HDR and BT.2020, so players will show washed-out "
            "colours; write .mp4 or .webm",
            InputWarning,
            stacklevel=2,
        )
