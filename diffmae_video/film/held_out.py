"""Places of a film that a fit never sees: the hole's own shape on known parts, to measure the fill there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from diffmae_video.film.scene import Scene

PLACES = 2  # of each scene
SCENES = 2  # the longest ones
CANDIDATES = 300
LEAST_KNOWN = 0.5  # share of the hole's pixels that must be known at a place
SAMPLED_FRAMES = 12  # frames of a scene that candidates are compared on


class Place(NamedTuple):
    """The hole moved elsewhere in its scene, and mirrored or not.

    Attributes:
        rows, columns: how far it is moved on the canvas; a mirrored hole is mirrored within its frame first.
        mirrored: whether left and right are exchanged.
        reversed: whether time runs backwards.
        later: by how many frames it is moved in time; it runs back at either end of the scene.
    """

    rows: int
    columns: int
    mirrored: bool
    reversed: bool
    later: int = 0


def choose_places(scene: Scene, rng: np.random.Generator) -> list[Place]:
    """Up to ``PLACES`` places where most of the hole's shape covers known pixels, apart from each other."""
    n = scene.num_frames
    frames = np.unique(np.linspace(0, n - 1, min(n, SAMPLED_FRAMES)).round().astype(int))
    own = scene.hidden[frames]
    area = max(1, int(own.sum()))
    taken = own.copy()
    height, width = scene.frame_size
    places: list[Place] = []
    for _ in range(PLACES):
        best, best_score = None, 0.0
        for _ in range(CANDIDATES):
            place = Place(
                int(rng.integers(-height // 2, height // 2 + 1)),
                int(rng.integers(-width // 2, width // 2 + 1)),
                bool(rng.random() < 0.5),
                bool(rng.random() < 0.5),
            )
            shape = np.stack([moved_hole(scene, place, int(f)) for f in frames])
            score = float((shape & ~taken).sum()) / area
            if score > best_score:
                best, best_score = place, score
            if score > 0.9:
                break
        if best is None or best_score < LEAST_KNOWN:
            break
        places.append(best)
        taken |= np.stack([moved_hole(scene, best, int(f)) for f in frames])
    return places


def moved_hole(scene: Scene, place: Place, frame: int) -> np.ndarray:
    """What a place hides of a frame, bool [H, W], whether it is known or not."""
    n = scene.num_frames
    source = abs(frame + place.later) % max(1, 2 * n - 2)
    source = 2 * n - 2 - source if source >= n else source
    source = n - 1 - source if place.reversed else source
    hidden = scene.hidden[source]
    if place.mirrored:
        hidden = hidden[:, ::-1]
    # Along the canvas: the camera's movement between the two frames is undone.
    drift = scene.offsets[source] - scene.offsets[frame]
    rows, columns = int(place.rows + drift[0]), int(place.columns + drift[1])
    height, width = hidden.shape
    moved = np.zeros_like(hidden)
    to_rows, to_columns = (
        slice(max(0, rows), height + min(0, rows)),
        slice(max(0, columns), width + min(0, columns)),
    )
    from_rows = slice(max(0, -rows), height + min(0, -rows))
    from_columns = slice(max(0, -columns), width + min(0, -columns))
    if abs(rows) < height and abs(columns) < width:
        moved[to_rows, to_columns] = hidden[from_rows, from_columns]
    return moved


def hold_out(scene: Scene, places: Sequence[Place], path: Path) -> Scene:
    """The scene that training sees: it hides the places too. The array is written to a file."""
    hidden = np.lib.format.open_memmap(path, "w+", np.bool_, scene.hidden.shape)
    for frame in range(scene.num_frames):
        hidden[frame] = scene.hidden[frame]
        for place in places:
            hidden[frame] |= moved_hole(scene, place, frame)
    return replace(scene, hidden=hidden)
