"""How the frames of a film lie on the pixels that the model works on, and back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from diffmae_video.tokens import Triple


class Canvas(NamedTuple):
    """The film's frames resized to the model's, or at their own size with the model's as tiles on them.

    Resizing does not keep the aspect, so that nothing is cropped. A canvas of tiles is rounded up to whole
    patches, and to one tile at least, by repeating the frame's edges. Both are our choice.

    Attributes:
        film: (height, width) of the film's frames in pixels.
        size: (height, width) of the canvas in pixels.
        patch: (height, width) of the model's patches in pixels.
        tiles: the frames keep their size.
    """

    film: tuple[int, int]
    size: tuple[int, int]
    patch: tuple[int, int]
    tiles: bool

    @classmethod
    def of(cls, film: tuple[int, int], grid: Triple, patch: Triple, tiles: bool) -> Canvas:
        """The canvas of a film's frames for a model's grid and patch."""
        height, width = grid[1] * patch[1], grid[2] * patch[2]
        if tiles:
            height = max(height, -(-film[0] // patch[1]) * patch[1])
            width = max(width, -(-film[1] // patch[2]) * patch[2])
        return cls(film, (height, width), (patch[1], patch[2]), tiles)

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of patches."""
        return self.size[0] // self.patch[0], self.size[1] // self.patch[1]

    def shrink(self, frame: np.ndarray, hole: np.ndarray) -> Tensor:
        """A frame on the canvas: uint8 [H, W, 3] -> float32 [3, h, w] in [0, 1].

        A pixel of the canvas is the weighted mean of the visible pixels under it, so that nothing of what
        is hidden leaks out of the hole, bool [H, W].
        """
        seen = torch.from_numpy(~hole)[None, None].float()
        picture = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float() / 255 * seen
        if self.tiles:
            return self._padded(picture)[0]
        if self.size != self.film:
            picture, seen = (
                F.interpolate(x, size=self.size, mode="bilinear", antialias=True) for x in (picture, seen)
            )
        return (picture / seen.clamp_min(1e-6)).clamp(0, 1)[0]

    def enlarge(self, picture: Tensor) -> np.ndarray:
        """A picture of the canvas, float [3, h, w] in [0, 1] (clamped), as a frame: uint8 [H, W, 3]."""
        if self.tiles:
            picture = picture[:, : self.film[0], : self.film[1]]
        elif self.size != self.film:
            picture = F.interpolate(picture[None], size=self.film, mode="bicubic", antialias=True)[0]
        frame: np.ndarray = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        return frame

    def touched(self, hole: np.ndarray) -> Tensor:
        """The patches that a hole touches: bool [H, W] -> bool [rows, columns]."""
        picture = torch.from_numpy(hole)[None, None].float()
        if self.tiles:
            picture = self._padded(picture)
        return F.adaptive_max_pool2d(picture, self.grid)[0, 0] > 0

    def area(self, patches: Tensor) -> np.ndarray:
        """The film's pixels whose centres lie in some patches: bool [rows, columns] -> bool [H, W]."""
        places = []
        for side, whole, patch in zip(self.film, self.size, self.patch, strict=True):
            scale = 1.0 if self.tiles else whole / side
            places.append(((torch.arange(side) + 0.5) * scale).long() // patch)
        area: np.ndarray = patches[places[0]][:, places[1]].numpy()
        return area

    def _padded(self, picture: Tensor) -> Tensor:
        """Edges repeated, to the right and below, to the canvas's size."""
        height, width = self.size
        pads = (0, width - picture.shape[3], 0, height - picture.shape[2])
        return F.pad(picture, pads, mode="replicate")
