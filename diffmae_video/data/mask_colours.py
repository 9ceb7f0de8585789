"""What the colours of a mask picture hide: bright pixels, numbered objects, or the objects of a choice."""

import re
from collections.abc import Sequence

import numpy as np
from PIL import Image

from diffmae_video.errors import InputError

HALF = 127  # of 255
MAX_LEVELS = 32  # grey levels of a mask that numbers objects
# The palette of PASCAL VOC and DAVIS spreads the bits of an object's number over the highest bits of the
# three channels, so that these bits are never set. White is not in it.
UNUSED_BITS = np.array([0x1F, 0x1F, 0x3F], np.uint8)
COLOUR_TOLERANCE = 15  # levels; colours of the palette differ by 32 or more in some channel
PALETTES_OF_COLOURS = ("GIF", "WEBP")  # here a palette compresses colours and does not number objects
LOSSY = ("JPEG", "MPO", "WEBP", "AVIF")

Instance = int | tuple[int, int, int]  # an object's number, or its colour


def parse_instances(text: str) -> list[Instance]:
    """Parses ``1,3,#800000``: numbers of objects from 1 to 255, and colours.

    Raises:
        InputError: a part is neither.
    """
    instances: list[Instance] = []
    for part in text.split(","):
        if re.fullmatch(r"#[0-9a-fA-F]{6}", part):
            instances.append((int(part[1:3], 16), int(part[3:5], 16), int(part[5:7], 16)))
        elif re.fullmatch(r"\d{1,3}", part) and 1 <= int(part) <= 255:
            instances.append(int(part))
        else:
            raise InputError(
                f"--instances {text}: give numbers of objects from 1 to 255 or colours such as #800000, "
                "separated by commas"
            )
    return instances


def palette_colour(number: int) -> tuple[int, int, int]:
    """The colour of an object in the palette of PASCAL VOC and DAVIS."""
    channels = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            channels[channel] |= (number >> (3 * place + channel) & 1) << (7 - place)
    return channels[0], channels[1], channels[2]


def hidden_by_instances(picture: Image.Image, file_format: str, instances: Sequence[Instance]) -> np.ndarray:
    """Where a picture shows one of the objects: bool [H, W].

    A number stands for the index of a palette picture, for the level of a grey one, and for the colour of the
    DAVIS palette elsewhere. Colours may differ by ``COLOUR_TOLERANCE``, since lossy files change them.
    """
    has_index = picture.mode == "P" and file_format not in PALETTES_OF_COLOURS
    index = np.asarray(picture) if has_index or picture.mode == "L" or picture.mode.startswith("I") else None
    colours = np.asarray(picture.convert("RGB")).astype(np.int16)
    hidden = np.zeros(colours.shape[:2], bool)
    for instance in instances:
        if isinstance(instance, int) and index is not None:
            hidden |= index == instance
        else:
            colour = palette_colour(instance) if isinstance(instance, int) else instance
            hidden |= (np.abs(colours - np.array(colour, np.int16)) <= COLOUR_TOLERANCE).all(-1)
    if picture.mode in ("RGBA", "LA", "PA"):
        hidden &= np.asarray(picture.getchannel("A")) > HALF
    return hidden


def hidden_by_picture(picture: Image.Image, file_format: str) -> np.ndarray:
    """What a picture without transparency hides: bool [H, W]."""
    if picture.mode.startswith("I"):
        return _hidden_by_levels(np.asarray(picture), 256 * (HALF + 1) - 1)
    if picture.mode == "L" and file_format not in LOSSY:
        return _hidden_by_levels(np.asarray(picture), HALF)
    colours = np.asarray(picture.convert("RGB"))
    if picture.mode == "P" and file_format not in PALETTES_OF_COLOURS:
        if (colours == colours[..., :1]).all():
            return _hidden_by_levels(colours[..., 0], HALF)
        return np.any(colours, axis=-1)
    return hidden_by_colours(colours)


def hidden_by_colours(colours: np.ndarray) -> np.ndarray:
    """What a picture of colours hides: uint8 [H, W, 3] -> bool [H, W]."""
    is_davis = not (colours & UNUSED_BITS).any()
    return np.greater(colours.max(axis=-1), 0 if is_davis else HALF)


def _hidden_by_levels(grey: np.ndarray, half: int) -> np.ndarray:
    """What a grey picture hides: bool [H, W]. A few dark levels on black are numbers of objects."""
    levels = np.unique(grey)
    is_numbered = levels[0] == 0 and levels[-1] <= half and len(levels) <= MAX_LEVELS
    return np.greater(grey, 0 if is_numbered else half)
