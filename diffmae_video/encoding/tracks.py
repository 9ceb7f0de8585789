"""Carries the sound and the subtitles of a film over to another one, without decoding them."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffmae_video.decoding.clock import LARGEST_GAP, nearest_offset
from diffmae_video.decoding.file_types import is_image_name
from diffmae_video.decoding.packets import open_container
from diffmae_video.decoding.pyav import PyAVReader
from diffmae_video.decoding.reader import VideoError
from diffmae_video.errors import InputWarning

KINDS = {"audio": "sound", "subtitle": "subtitle track"}
HEAD_START = 0.1  # seconds of sound before the pictures that only prime its decoder


@dataclass
class _Track:
    """An output stream, and where its clock stands, in seconds."""

    stream: Any
    offset: float = 0.0  # what is added to the source's clock
    last: float | None = None  # the last packet's time on the source's clock
    end: float = 0.0  # of the last packet, on the mended clock
    written: int | None = None  # the last packet's decoding time, in ticks


class CarriedTracks:
    """The tracks of a source that a container can hold, muxed beside the pictures of the same time.

    Languages and the choice of the default track are kept. Each track that cannot be held is named in a
    warning.

    Args:
        container: PyAV's, open for writing.
        ending: the output's, for warnings.
        source: the film, or None for none. A picture or a folder has no tracks.

    Attributes:
        delay: seconds by which the sound begins before the pictures.
    """

    def __init__(self, container: Any, ending: str, source: str | Path | None) -> None:
        self.container, self.source, self.delay = container, None, 0.0
        self.packets: Iterator[Any] = iter(())
        self.next: Any = None
        self.streams: list[Any] = []
        self.tracks: dict[int, _Track] = {}
        if source is None or not Path(source).is_file() or is_image_name(source):
            return
        try:
            with PyAVReader(str(Path(source).absolute())) as pictures:
                self.start, self.offsets = pictures.start, pictures.clock_offsets
        except VideoError:
            return
        self.source = open_container(source)
        streams = [stream for stream in self.source.streams if stream.type in KINDS]
        self.streams = [stream for stream in streams if self._fits(stream, ending)]
        sound = [s for s in self.streams if s.type == "audio" and s.start_time is not None]
        begins = [float(s.start_time * s.time_base) for s in sound]
        lead = self.start - min(begins, default=self.start)
        self.delay = lead if lead > HEAD_START else 0.0
        if self.streams:
            self.packets = (p for p in self.source.demux(*self.streams) if p.dts is not None and p.size)

    def _fits(self, stream: Any, ending: str) -> bool:
        """Whether the container can hold a track; if not, warns."""
        codec = stream.codec_context.name if stream.codec_context else "unknown"
        if codec in self.container.supported_codecs:
            return True
        language = stream.metadata.get("language", "und")
        named = codec if language == "und" else f"{codec}, {language}"
        message = f"the {KINDS[stream.type]} ({named}) is left out: {ending} cannot hold it"
        warnings.warn(message, InputWarning, stacklevel=2)
        return False

    def add_streams(self) -> None:
        """Adds the tracks to the container, after the stream of the pictures."""
        for stream in self.streams:
            out = self.container.add_stream_from_template(stream)
            out.metadata.update({k: v for k, v in stream.metadata.items() if k in ("language", "title")})
            out.disposition = stream.disposition
            self.tracks[stream.index] = _Track(out)

    def mux(self, pictures: list[Any], seconds: float) -> None:
        """Muxes packets of pictures, and what the tracks hold before a time."""
        self.container.mux(pictures)
        while True:
            self.next = self.next or next(self.packets, None)
            if self.next is None:
                return
            packet, track = self.next, self.tracks[self.next.stream_index]
            due = float(packet.dts * packet.time_base)
            if len(self.offsets) > 1 and track.last is not None and not 0 <= due - track.last <= LARGEST_GAP:
                track.offset, track.last = nearest_offset(due, track.end, self.offsets), due
            if due + track.offset - self.start + self.delay > seconds:
                return
            self.next = None
            track.last = due
            track.end = due + track.offset + float((packet.duration or 0) * packet.time_base)
            shift = round((track.offset - self.start + self.delay) / packet.time_base)
            packet.pts, packet.dts = (packet.pts or packet.dts) + shift, packet.dts + shift
            if track.written is not None and packet.dts <= track.written:
                continue  # overlaps with the sound before a break
            track.written = packet.dts
            packet.stream = track.stream
            self.container.mux(packet)

    def close(self) -> None:
        """Closes the source."""
        if self.source is not None:
            self.source.close()
