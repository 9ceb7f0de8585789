"""The torchcodec reader; it needs torch and a system FFmpeg (4 to 8)."""

from types import ModuleType

import numpy as np

from diffmae_video.decoding.pyav import PyAVReader
from diffmae_video.decoding.reader import FasterReader, VideoError, VideoReader, reason
from diffmae_video.errors import InputError, require


class TorchCodecReader(FasterReader):
    """torchcodec, which scans the file for its frames.

    Args:
        exact: the same file, opened with the same size.
    """

    def __init__(self, exact: PyAVReader) -> None:
        decoders = torchcodec_decoders()
        super().__init__(exact)
        options = {}
        if (self.height, self.width) != exact.stored_size:
            transforms = require("torchcodec.transforms", "torchcodec")
            options["transforms"] = [transforms.Resize(size=(self.height, self.width))]
        try:
            self.decoder = decoders.VideoDecoder(
                self.path, dimension_order="NHWC", num_ffmpeg_threads=1, **options
            )
            self.held_frames = int(self.decoder.metadata.num_frames or 0)
        except (RuntimeError, ValueError, IndexError) as error:
            raise VideoError(f"{self.path}: torchcodec cannot read it ({reason(error)})") from error

    def decode(self, indices: list[int]) -> np.ndarray:
        try:
            decoded: np.ndarray = self.decoder.get_frames_at(indices).data.numpy()
        except (RuntimeError, IndexError) as error:
            raise VideoError(f"{self.path}: torchcodec cannot decode it ({reason(error)})") from error
        return decoded

    def close(self) -> None:
        del self.decoder


def open_with_torchcodec(path: str, short_side: int | None) -> VideoReader:
    """torchcodec for files whose stored frames are all shown as they are, and else PyAV.

    torchcodec does not follow edit lists, clocks that break and mirrored orientations as FFmpeg does.

    Raises:
        InputError: torchcodec is installed and does not load.
    """
    torchcodec_decoders()
    exact = PyAVReader(path, short_side)
    if not exact.is_plain:
        return exact
    return exact.replaced_by(lambda: TorchCodecReader(exact))


def torchcodec_decoders() -> ModuleType:
    """The module ``torchcodec.decoders``.

    Raises:
        MissingExtraError: torchcodec is not installed.
        InputError: it does not load.
    """
    try:
        return require("torchcodec.decoders", "torchcodec")
    except (OSError, RuntimeError) as error:  # it is installed, and its FFmpeg is not
        raise InputError(
            f"torchcodec does not load ({reason(error)}); it needs a system FFmpeg, versions 4 to 8 "
            "(Debian: apt install ffmpeg)"
        ) from error
