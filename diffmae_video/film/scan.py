"""Reads a film once for its shots and the camera's path, and once more to keep what is known as scenes.

Scenes are arrays on disk, so that memory does not grow with the film's length.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from diffmae_video.decoding import VideoReader
from diffmae_video.errors import InputError
from diffmae_video.film.camera import CameraTracker, CutDetector
from diffmae_video.film.holes import Hole
from diffmae_video.film.scene import Scene, offsets_of
from diffmae_video.runtime.progress import ProgressBar

CHUNK = 16  # frames read at a time
LONGEST_SHORT_SIDE = 480  # pixels; larger films are fitted at this size, and their fill is enlarged
WHOLE_FRAMES = 2**30  # bytes; of longer films, only the surroundings of the hole are kept
MARGIN = 96  # pixels kept around the hole of a long film


@dataclass(frozen=True)
class ScannedFilm:
    """A film as fitting sees it.

    Attributes:
        scenes: the shots in which something is hidden, in order.
        boxes: of each scene, the part (top, left, height, width) of the reduced frame that it holds.
        size: (height, width) of the reduced frames, whose pixels all scenes count in.
        num_frames: frames of the film.
        shots: how many shots it has.
        digest: identifies the known pixels and the hole.
    """

    scenes: list[Scene]
    boxes: list[tuple[int, int, int, int]]
    size: tuple[int, int]
    num_frames: int
    shots: int
    digest: str


def scan_film(video: VideoReader, hole: Hole, folder: Path) -> ScannedFilm:
    """Finds a film's scenes and writes them into a folder.

    Raises:
        InputError: the hole hides nothing, or everything.
        VideoError: a frame cannot be decoded.
        MissingExtraError: OpenCV or scenedetect is not installed.
    """
    frame_size = video.height, video.width
    scale = min(1.0, LONGEST_SHORT_SIDE / min(frame_size))
    size = (round(scale * frame_size[0]), round(scale * frame_size[1]))
    cuts, camera, digest = CutDetector(), CameraTracker(), hashlib.sha256(repr(frame_size).encode())
    shifts, bounds = [], []
    hidden_pixels = 0
    for frame, hidden in _frames(video, hole, "looking through the film"):
        digest.update(frame.tobytes())
        digest.update(np.packbits(hidden).tobytes())
        cuts.add(frame, hidden)
        shifts.append(camera.add(frame, hidden))
        bounds.append(_bounds(hidden))
        hidden_pixels += int(hidden.sum())
    if hidden_pixels == 0:
        raise InputError("--mask: hides nothing of the film; paint white what should be filled")
    if hidden_pixels == len(bounds) * frame_size[0] * frame_size[1]:
        raise InputError("--mask: hides the whole film, so there is nothing to fill it from; hide less")
    starts = [0, *cuts.finish()]
    ends = [*starts[1:], len(bounds)]
    shots = [
        (start, end)
        for start, end in zip(starts, ends, strict=True)
        if any(b is not None for b in bounds[start:end])
    ]
    is_long = 4 * size[0] * size[1] * len(bounds) > WHOLE_FRAMES
    boxes = [_box(bounds[start:end], frame_size, size, is_long) for start, end in shots]
    scenes = []
    for number, ((start, end), box) in enumerate(zip(shots, boxes, strict=True)):
        moves = np.array(shifts[start:end]) * np.array(size) / np.array(frame_size)
        moves[0] = 0
        scenes.append(_new_scene(folder / f"scene{number:04d}", start, end - start, box, offsets_of(moves)))
    shot, number = 0, 0
    for number, (frame, hidden) in enumerate(_frames(video, hole, "keeping what is known")):
        while shot < len(shots) and number >= shots[shot][1]:
            shot += 1
        if shot == len(shots) or number < shots[shot][0]:
            continue
        small, small_hidden = reduce(frame, hidden, size)
        top, left, height, width = boxes[shot]
        part = slice(top, top + height), slice(left, left + width)
        scenes[shot].pixels[number - shots[shot][0]] = small[part]
        scenes[shot].hidden[number - shots[shot][0]] = small_hidden[part]
    return ScannedFilm(scenes, boxes, size, len(bounds), len(starts), digest.hexdigest())


def reduce(frame: np.ndarray, hidden: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A frame and its hole at another size; a pixel with any hidden part is hidden, and 0."""
    if frame.shape[:2] == size:
        return frame, hidden
    known = torch.from_numpy(~hidden)[None, None].float()
    picture = torch.from_numpy(frame).permute(2, 0, 1)[None].float() * known
    picture = F.interpolate(picture, size=size, mode="bilinear", antialias=True)
    part = F.interpolate(known, size=size, mode="bilinear", antialias=True)
    small_hidden = (part < 1 - 1e-4)[0, 0]
    picture = torch.where(small_hidden, 0, picture).round().clamp(0, 255).byte()
    return picture[0].permute(1, 2, 0).numpy(), small_hidden.numpy()


def _frames(video: VideoReader, hole: Hole, what: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each frame, with its hidden pixels set to 0, and its hole."""
    for start in ProgressBar(
        range(0, video.num_frames, CHUNK), desc=what, unit_scale=CHUNK, unit=" frames", leave=False
    ):
        stop = min(start + CHUNK, video.num_frames)
        for frame, hidden in zip(video.frames(range(start, stop)), hole.pixels(start, stop), strict=True):
            yield np.where(hidden[..., None], np.uint8(0), frame), hidden


def _bounds(hidden: np.ndarray) -> tuple[int, int, int, int] | None:
    """Top, left, bottom and right of a hole; None if there is none."""
    rows, columns = np.flatnonzero(hidden.any(1)), np.flatnonzero(hidden.any(0))
    return (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1) if len(rows) else None


def _box(
    bounds: list[tuple[int, int, int, int] | None],
    frame_size: tuple[int, int],
    size: tuple[int, int],
    is_long: bool,
) -> tuple[int, int, int, int]:
    """The part of the reduced frame that a scene keeps."""
    if not is_long:
        return 0, 0, size[0], size[1]
    found = np.array([b for b in bounds if b is not None])
    ends = np.concatenate([found[:, :2].min(0), found[:, 2:].max(0)])
    ends = ends * np.array([*size, *size]) / np.array([*frame_size, *frame_size])
    top, left = (max(0, int(v) - MARGIN) for v in ends[:2])
    bottom, right = (min(n, int(np.ceil(v)) + MARGIN) for n, v in zip(size, ends[2:], strict=True))
    return top, left, bottom - top, right - left


def _new_scene(
    path: Path, first: int, num_frames: int, box: tuple[int, int, int, int], offsets: np.ndarray
) -> Scene:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (num_frames, box[2], box[3])
    pixels = np.lib.format.open_memmap(f"{path}-pixels.npy", "w+", np.uint8, (*shape, 3))
    hidden = np.lib.format.open_memmap(f"{path}-hidden.npy", "w+", np.bool_, shape)
    return Scene(first, pixels, hidden, offsets)
