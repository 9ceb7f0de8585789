"""Readers of pictures: one, an animated one, and a folder of pictures that are the frames of a film."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from diffmae_video.decoding.file_types import is_image_name
from diffmae_video.decoding.reader import VideoError, VideoReader, reason, resized
from diffmae_video.files import natural_key

FOLDER_FPS = 25.0  # of a folder of frames where no rate is given; FFmpeg's own default for numbered pictures
ERRORS = (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError)


class PictureReader(VideoReader):
    """A picture as a video of one frame, turned upright by its EXIF tag."""

    num_frames, fps, times, duration = 1, 1.0, np.zeros(1), 1.0

    def __init__(self, path: str, short_side: int | None) -> None:
        self.path = path
        try:
            with Image.open(path) as stored:
                self.icc = stored.info.get("icc_profile") if stored.mode in ("RGB", "RGBA", "P") else None
            self.picture = read_picture(path, short_side)
        except ERRORS as error:
            raise VideoError(f"{path}: no picture that can be read ({reason(error)})") from error
        self.height, self.width = self.picture.shape[:2]

    def decode(self, indices: list[int]) -> np.ndarray:
        return np.repeat(self.picture[None], len(indices), axis=0)

    def close(self) -> None:
        del self.picture


class AnimatedPictureReader(VideoReader):
    """An animated WebP or PNG as a video. Pillow decodes it; FFmpeg has no decoder for animated WebP."""

    def __init__(self, path: str, short_side: int | None) -> None:
        self.path = path
        try:
            self.stored = Image.open(path)
            self.num_frames = self.stored.n_frames  # type: ignore[attr-defined]
            seconds = []
            for index in range(self.num_frames):
                self.stored.seek(index)
                self.stored.load()  # WebP's durations are known once a frame is decoded
                seconds.append(self.stored.info.get("duration", 0) / 1000)
        except ERRORS as error:
            raise VideoError(f"{path}: no animated picture that can be read ({reason(error)})") from error
        ends = np.cumsum([second or 1 / FOLDER_FPS for second in seconds])
        self.times, self.duration = np.concatenate([[0.0], ends[:-1]]), float(ends[-1])
        self.fps = self.num_frames / self.duration
        self.height, self.width = resized(self.stored.height, self.stored.width, short_side)

    def decode(self, indices: list[int]) -> np.ndarray:
        out = np.empty((len(indices), self.height, self.width, 3), np.uint8)
        try:
            for place, index in enumerate(indices):
                # Pillow fails on some files when it goes back, or skips frames.
                if index < self.stored.tell():
                    self.stored.close()
                    self.stored = Image.open(self.path)
                for number in range(self.stored.tell(), index + 1):
                    self.stored.seek(number)
                    self.stored.load()
                out[place] = _scaled(self.stored.convert("RGB"), (self.height, self.width))
        except ERRORS as error:
            raise VideoError(f"{self.path}: frame {index} cannot be decoded ({reason(error)})") from error
        return out

    def close(self) -> None:
        self.stored.close()


class FrameFolderReader(VideoReader):
    """A folder of pictures as a film, in the natural order of their names: 2.png comes before 10.png.

    Args:
        fps: frames per second.

    Raises:
        VideoError: the folder holds no pictures, or its first one cannot be read.
    """

    def __init__(self, path: str, short_side: int | None, fps: float) -> None:
        self.path, self.fps, self.short_side = path, fps, short_side
        self.files = frame_files(path)
        if not self.files:
            raise VideoError(f"{path}: holds no pictures; a folder is read as a film of the pictures in it")
        self.num_frames, self.duration = len(self.files), len(self.files) / fps
        self.times = np.arange(self.num_frames) / fps
        first = PictureReader(str(self.files[0]), short_side)
        self.height, self.width, self.icc = first.height, first.width, first.icc

    def decode(self, indices: list[int]) -> np.ndarray:
        out = np.empty((len(indices), self.height, self.width, 3), np.uint8)
        for place, index in enumerate(indices):
            if place and index == indices[place - 1]:
                out[place] = out[place - 1]
                continue
            try:
                picture = read_picture(self.files[index], self.short_side)
            except ERRORS as error:
                raise VideoError(
                    f"{self.files[index]}: no picture that can be read ({reason(error)})"
                ) from error
            if picture.shape != out.shape[1:]:
                raise VideoError(
                    f"{self.files[index]}: has {picture.shape[1]} x {picture.shape[0]} pixels and the first "
                    f"frame {self.width} x {self.height}; all frames of a film have one size"
                )
            out[place] = picture
        return out

    def close(self) -> None:
        """Nothing is held open."""


def frame_files(folder: str | Path) -> list[Path]:
    """The pictures directly in a folder in the natural order of their names; hidden ones are left out."""
    files = [
        p for p in Path(folder).iterdir() if is_image_name(p) and not p.name.startswith(".") and p.is_file()
    ]
    return sorted(files, key=natural_key)


def is_animated(path: str | Path, name: str | Path) -> bool:
    """Whether a file that is a WebP or PNG by its name holds several frames."""
    if Path(name).suffix.lower() not in (".webp", ".png", ".apng"):
        return False
    try:
        with Image.open(path) as stored:
            return getattr(stored, "n_frames", 1) > 1
    except ERRORS:
        return False  # opening it as a picture says what is wrong


def read_picture(path: str | Path, short_side: int | None = None) -> np.ndarray:
    """Reads a picture upright as uint8 [H, W, 3]; 16 bits of grey become 8.

    Raises:
        OSError, ValueError, SyntaxError: the file is no picture, or a damaged one.
    """
    with Image.open(path) as stored:
        whole: Image.Image = stored
        if stored.mode.startswith("I"):  # 16 bits, which Pillow would clip to 8
            whole = Image.fromarray((np.asarray(stored) >> 8).clip(0, 255).astype(np.uint8))
        picture = ImageOps.exif_transpose(whole).convert("RGB")
    return _scaled(picture, resized(picture.height, picture.width, short_side))


def _scaled(picture: Image.Image, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture)
