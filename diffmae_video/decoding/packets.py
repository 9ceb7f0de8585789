"""The packets of a video stream, read from its container but not decoded."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from diffmae_video.errors import require

ATTACHED_PICTURE = 0x400  # the disposition of a cover in a sound file
INDEXED = "mp4"  # of FFmpeg's name for the MP4 family, whose index lists all frames before they are read
ANNOUNCING = ("mp4", "matroska", "avi", "flv", "asf")  # containers whose header states the duration
MISSING_SECONDS, MISSING_SHARE = 0.25, 0.05  # a file that lacks more than both is cut off (our choice)
# Bytes of an MPEG-TS packet, and how many stand before its sync byte: plain, with a time code (m2ts), and
# with an error correcting code.
TRANSPORT_PACKETS = ((188, 0), (192, 4), (204, 0))
SYNC = 0x47  # the first byte of a packet of MPEG-TS


class Packets(NamedTuple):
    """What is known of each packet without decoding it, in the order of decoding."""

    # pts, dts: presentation and decoding times in the stream's time base, None where unknown
    pts: list[Any]
    dts: list[Any]
    durations: list[int]  # in the time base; 0 where unknown
    positions: list[Any]  # bytes from the file's start, None where unknown
    # False for packets that only serve to decode others: an edit list hides their frames
    is_shown: list[bool]
    is_marked: list[bool]  # the container calls it a key frame
    is_key: list[bool]  # decoding can start there exactly


def open_container(path: str | Path) -> Any:
    """Opens a file with PyAV.

    The path is made absolute because FFmpeg takes the start of ``12:30.mp4`` for the name of a protocol.

    Raises:
        av.FFmpegError: no container that FFmpeg knows.
        OSError: the file cannot be opened.
    """
    return require("av", "video").open(str(Path(path).absolute()))


def video_stream(container: Any) -> Any | None:
    """The container's default video stream, or None if it has none. Cover pictures do not count."""
    streams = [s for s in container.streams.video if not s.disposition & ATTACHED_PICTURE]
    best = container.streams.best("video")
    return best if best in streams else next(iter(streams), None)


def read_packets(container: Any, stream: Any) -> Packets:
    """Reads the packets of a stream from where the container stands to its end."""
    found = Packets([], [], [], [], [], [], [])
    context = stream.codec_context
    for packet in container.demux(stream):
        if not packet.size:
            continue
        found.pts.append(packet.pts)
        found.dts.append(packet.dts)
        found.durations.append(packet.duration or 0)
        found.positions.append(packet.pos)
        found.is_shown.append(not packet.is_discard)
        found.is_marked.append(packet.is_keyframe)
        # H.264 files also mark points of gradual refresh, where decoding starts with damaged frames.
        exact = packet.is_keyframe and (context.name != "h264" or is_idr(packet, context.extradata))
        found.is_key.append(exact)
    return found


def missing_frames(container: Any, stream: Any, packets: Packets) -> str:
    """What an MP4 file lacks of the frames that its index lists, in words; empty if nothing.

    The index is FFmpeg's, without the frames that an edit list removes. Must be called after
    :func:`read_packets`.
    """
    announced = len(stream.index_entries) if INDEXED in container.format.name else 0
    held = len(packets.pts)
    return f"is cut off: it announces {announced} frames and holds {held}" if held < announced else ""


def missing_end(path: str | Path) -> str:
    """What is missing at the end of a file, in words; empty if nothing is.

    Compares the duration that the header states with the times of all streams, and looks for a last packet
    of MPEG-TS that is incomplete. A stream of whole MPEG-TS packets does not say how long it should be.
    """
    with open_container(path) as container:
        kind = container.format.name
        if "mpegts" in kind:
            return _incomplete_transport_packet(Path(path))
        announced = container.duration
        if not announced or not any(name in kind for name in ANNOUNCING):
            return ""
        streams = [s for s in container.streams if s.type in ("video", "audio", "subtitle")]
        held = _last_end(container.demux(*streams))
    announced /= 1_000_000
    if announced - held > max(MISSING_SECONDS, MISSING_SHARE * announced):
        return f"is cut off: it announces {announced:.2f} s and holds {held:.2f} s"
    return ""


def _last_end(packets: Iterable[Any]) -> float:
    """Seconds at which the last of the packets ends."""
    end = Fraction(0)
    for packet in packets:
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None and packet.size:
            end = max(end, (stamp + (packet.duration or 0)) * packet.time_base)
    return float(end)


def _incomplete_transport_packet(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(4096)
    for size, before_sync in TRANSPORT_PACKETS:
        for first in range(min(size, len(head))):
            if set(head[first::size]) == {SYNC} and len(head[first::size]) > 3:
                rest = (path.stat().st_size - first + before_sync) % size
                return f"is cut off: its last packet holds {rest} of {size} bytes" if rest else ""
    return ""


def has_open_gop(shown: Sequence[int], keys: set[int]) -> bool:
    """Whether frames that follow a key frame in decoding are shown before it.

    Args:
        shown: presentation times in the order of decoding.
        keys: those of the key frames.
    """
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
