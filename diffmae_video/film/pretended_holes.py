"""What training hides: mostly the film's own hole, at another place and time, mirrored or not."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from diffmae_video.film.scene import Scene
from diffmae_video.film.scene_windows import FrameChoice, WindowShape


class PretendedHoles:
    """Draws what training hides: the hole's own shape elsewhere, boxes and random patches.

    Args:
        scene: with the hole as the user gave it.
        own: share of masks in the hole's own shape; the rest is half boxes, half random patches.
    """

    def __init__(self, scene: Scene, own: float = 0.7) -> None:
        self.scene, self.own = scene, own
        counts = np.array([int(h.sum()) for h in scene.hidden])
        self.frames = np.flatnonzero(counts)

    def draw(
        self, every: np.ndarray, choice: FrameChoice, shape: WindowShape, rng: np.random.Generator
    ) -> Tensor:
        """bool [n, h, w] for the frames ``every``."""
        kind = rng.random()
        height, width = shape.size
        if kind < self.own and len(self.frames):
            return self._own_shape(every, choice, height, width, rng)
        if kind < (1 + self.own) / 2:
            return self._box(len(every), height, width, rng)
        return self._patches(len(every), shape, rng)

    def _own_shape(
        self, every: np.ndarray, choice: FrameChoice, height: int, width: int, rng: np.random.Generator
    ) -> Tensor:
        scene = self.scene
        source = int(rng.choice(self.frames))
        rows, columns = np.nonzero(scene.hidden[source])
        k = int(rng.integers(len(rows)))
        place = scene.offsets[source] + (rows[k], columns[k])
        corner = place - (int(rng.integers(height)), int(rng.integers(width)))
        sign = 1 if rng.random() < 0.5 else -1
        moved = source + sign * (every - int(rng.choice(choice.frames)))
        n = scene.num_frames
        moved = np.abs(moved) % max(1, 2 * n - 2)  # reflected at both ends
        moved = np.where(moved >= n, 2 * n - 2 - moved, moved)
        hidden = scene.cut(moved, int(corner[0]), int(corner[1]), height, width).hidden
        if rng.random() < 0.5:
            hidden = hidden.flip(-1)
        return hidden

    def _box(self, count: int, height: int, width: int, rng: np.random.Generator) -> Tensor:
        hidden = torch.zeros(count, height, width, dtype=torch.bool)
        for _ in range(int(rng.integers(1, 3))):
            h, w = (int(rng.integers(8, max(9, 3 * n // 5))) for n in (height, width))
            top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            hidden[:, top : top + h, left : left + w] = True
        return hidden

    def _patches(self, count: int, shape: WindowShape, rng: np.random.Generator) -> Tensor:
        (_, rows, columns), (_, p, q) = shape.grid, shape.patch
        chosen = torch.from_numpy(rng.random((rows, columns)) < rng.uniform(0.3, 0.8))
        return chosen.repeat_interleave(p, 0).repeat_interleave(q, 1).expand(count, -1, -1)
