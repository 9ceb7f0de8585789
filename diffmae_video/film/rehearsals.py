"""Rehearsals: stretches of a film in which known parts are hidden as well, to practise filling the hole.

Mostly they are hidden in the hole's own shape, at other places and times, mirrored or not; also in boxes and
in random patches. The base fill of a rehearsal is made as the hole's own is, so that the model meets the same
mistakes in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from diffmae_video.film.base_fill import THREADS, BaseFill
from diffmae_video.film.held_out import Place, moved_hole
from diffmae_video.film.scene import Scene
from diffmae_video.runtime.progress import ProgressBar

LENGTH = 64  # frames of a rehearsal
KINDS = ("own", "own", "box", "own", "patches", "own", "own")  # in turn
COVERED = 0.12  # share of the pixels that a rehearsal in the hole's shape is to hide
MOST_COPIES = 16
SIDE = 16  # pixels of a random patch
MEASURED = 3  # rehearsals on which the base fill is measured
BLOCK, REACH = 64, 32  # frames filled at a time, and those before and after that colours may come from


def draw_rehearsals(scenes: Sequence[Scene], own: Sequence[Scene], count: int, seed: int) -> list[Scene]:
    """Stretches of scenes with what they pretend to hide, without their base fills.

    Args:
        scenes: the film's scenes, as training may see them.
        own: the same scenes with the hole alone, whose shapes are used.
        count: how many rehearsals.
        seed: of places and shapes; a rehearsal depends only on the seed and its number.
    """
    return [_drawn(scenes, own, number, seed) for number in range(count)]


def measured_base_fill(rehearsals: Sequence[Scene]) -> BaseFill:
    """The base fill that is best on the first rehearsals."""
    first = rehearsals[:MEASURED]
    return BaseFill.measured([(s.pixels, s.hidden, s.pretended) for s in first if s.pretended is not None])


def fill_rehearsals(base_fill: BaseFill, rehearsals: Sequence[Scene], folder: Path) -> list[Scene]:
    """Rehearsals with their base fills, which are written into a folder."""

    def fill(number: int) -> Scene:
        scene = rehearsals[number]
        missing = scene.hidden if scene.pretended is None else scene.hidden | scene.pretended
        path = folder / f"rehearsal{number:04d}-filled.npy"
        filled = np.lib.format.open_memmap(path, "w+", np.uint8, scene.pixels.shape)
        filled[:] = base_fill(scene.pixels, missing)
        return replace(scene, filled=filled)

    count = len(rehearsals)
    with ThreadPoolExecutor(THREADS) as pool:
        filled = pool.map(fill, range(count))
        return list(ProgressBar(filled, total=count, desc="rehearsing", unit=" holes", leave=False))


def fill_scene(base_fill: BaseFill, scene: Scene, path: Path | None = None) -> Scene:
    """The scene with its base fill, made block by block so that memory does not grow with its length.

    Args:
        path: of a file for the filled frames; None keeps them in memory.
    """
    shape = scene.pixels.shape
    filled = (
        np.zeros(shape, np.uint8) if path is None else np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    )

    def fill(start: int) -> None:
        first, last = max(0, start - REACH), min(scene.num_frames, start + BLOCK + REACH)
        block = base_fill(scene.pixels[first:last], scene.hidden[first:last])
        filled[start : start + BLOCK] = block[start - first : start - first + BLOCK]

    starts = range(0, scene.num_frames, BLOCK)
    with ThreadPoolExecutor(THREADS) as pool:
        blocks = pool.map(fill, starts)
        list(ProgressBar(blocks, total=len(starts), desc="base fill", unit=" blocks", leave=False))
    return replace(scene, filled=filled)


def _drawn(scenes: Sequence[Scene], own: Sequence[Scene], number: int, seed: int) -> Scene:
    """A stretch of a scene, with what it pretends to hide."""
    rng = np.random.default_rng([seed, number])
    frames = np.array([scene.num_frames for scene in scenes], float)
    chosen = int(rng.choice(len(scenes), p=frames / frames.sum()))
    scene = scenes[chosen]
    start = int(rng.integers(max(1, scene.num_frames - LENGTH + 1)))
    stop = min(scene.num_frames, start + LENGTH)
    kind = KINDS[number % len(KINDS)]
    size = (stop - start, *scene.frame_size)
    if kind == "own":
        pretended = _own_shapes(own[chosen], start, stop, rng)
    else:
        pretended = _boxes(size, rng) if kind == "box" else _patches(size, rng)
    part = scene.part(start, stop)
    return replace(part, pretended=pretended & ~np.array(part.hidden))


def _own_shapes(scene: Scene, start: int, stop: int, rng: np.random.Generator) -> np.ndarray:
    height, width = scene.frame_size
    pretended = np.zeros((stop - start, height, width), bool)
    for _ in range(MOST_COPIES):
        place = Place(
            int(rng.integers(-2 * height // 3, 2 * height // 3 + 1)),
            int(rng.integers(-2 * width // 3, 2 * width // 3 + 1)),
            bool(rng.random() < 0.5),
            bool(rng.random() < 0.5),
            int(rng.integers(scene.num_frames)),
        )
        for i in range(stop - start):
            pretended[i] |= moved_hole(scene, place, start + i)
        if pretended.mean() >= COVERED:
            break
    return pretended


def _boxes(size: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Boxes of a twentieth to a third of each side, some of which move."""
    n, height, width = size
    pretended = np.zeros(size, bool)
    for _ in range(int(rng.integers(2, 5))):
        high, wide = (max(1, round(float(rng.uniform(0.05, 0.33)) * side)) for side in (height, width))
        begin, end = (
            np.array([rng.integers(height - high + 1), rng.integers(width - wide + 1)]) for _ in range(2)
        )
        is_still = rng.random() < 0.5
        for i in range(n):
            top, left = begin if is_still else np.round(begin + (end - begin) * i / max(1, n - 1)).astype(int)
            pretended[i, top : top + high, left : left + wide] = True
    return pretended


def _patches(size: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Random patches, the same in all frames."""
    _, height, width = size
    chosen = rng.random((-(-height // SIDE), -(-width // SIDE))) < rng.uniform(0.2, 0.6)
    patches = chosen.repeat(SIDE, 0).repeat(SIDE, 1)[:height, :width]
    return np.broadcast_to(patches, size).copy()
