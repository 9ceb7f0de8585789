"""Masks that a user drew: a picture for all frames, or a film with one picture for each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from diffmae_video.decoding import open_video
from diffmae_video.decoding.endings import VIDEO_ENDINGS
from diffmae_video.errors import InputError

BRIGHT = 127  # of 255: brighter is masked


def is_bright(frames: np.ndarray) -> np.ndarray:
    """Where frames of a mask hide: uint8 [..., 3] -> bool [...]."""
    bright: np.ndarray = frames.max(axis=-1) > BRIGHT
    return bright


def is_mask_film(path: str | Path) -> bool:
    """Whether a mask has one frame per frame of the film: a video or an animated picture."""
    try:
        with Image.open(path) as picture:
            return getattr(picture, "n_frames", 1) > 1
    except (UnidentifiedImageError, OSError):
        return Path(path).suffix.lower() in VIDEO_ENDINGS


def read_mask_picture(path: str | Path) -> np.ndarray:
    """Reads a mask picture as bool [H, W], True where it is bright or, with transparency, opaque.

    It is upright by its EXIF tag, as pictures are that it is for; opaque throughout is no transparency.

    Raises:
        InputError: the file is missing or no picture.
    """
    try:
        with Image.open(path) as stored:
            picture = ImageOps.exif_transpose(stored)
            if picture.mode.startswith("I"):  # 16 bits, which Pillow would clip to 8
                return np.asarray(picture) >> 8 > BRIGHT
            alpha = np.asarray(picture.convert("RGBA").getchannel("A"))
            if alpha.min() < 255:
                return alpha > BRIGHT
            return is_bright(np.asarray(picture.convert("RGB")))
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(f"{path}: cannot read it as a mask picture ({error})") from error


def read_mask(path: str | Path, num_frames: int, height: int, width: int, backend: str = "decord") -> Tensor:
    """Reads a mask as bool [T, H, W], True where it is bright or, with transparency, opaque.

    It is resized to the clip's size by nearest neighbour. A picture stands for all frames; of a film
    that is too short the last frame is repeated. Give the result to ``Mask.from_pixels``.

    Raises:
        InputError: the file is missing or neither a picture nor a video.
    """
    path = Path(path)
    if is_mask_film(path):
        with open_video(path, backend) as video:
            indices = [min(i, video.num_frames - 1) for i in range(num_frames)]
            bright = is_bright(video.frames(indices))
    else:
        bright = np.repeat(read_mask_picture(path)[None], num_frames, axis=0)
    mask = torch.from_numpy(bright)[None].to(torch.uint8)
    return F.interpolate(mask, size=(height, width), mode="nearest")[0].bool()
