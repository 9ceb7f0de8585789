"""The canvas: the pixels that the model works on, and how the film's frames map to them and back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from diffmae_video.tokens import Triple


class Canvas(NamedTuple):
    """Either the film's frames resized to the model's size, or frames at full size, covered by tiles.

    Resizing ignores the aspect ratio, so that nothing is cropped. With tiles, the model's clips lie side by
    side on the canvas; it is padded to whole patches, and to at least one tile, by repeating the frame's
    last row and column. Both are our choice.
    """

    frame_size: tuple[int, int]  # (height, width) of the film's frames in pixels
    size: tuple[int, int]  # (height, width) of the canvas in pixels
    patch: tuple[int, int]  # (height, width) of the model's patches in pixels
    tiles: bool  # whether frames keep their size

    @classmethod
    def for_film(cls, frame_size: tuple[int, int], grid: Triple, patch: Triple, tiles: bool) -> Canvas:
        """The canvas for a film's frames and a model's grid (in patches) and patch (in pixels)."""
        height, width = grid[1] * patch[1], grid[2] * patch[2]
        if tiles:
            height = max(height, -(-frame_size[0] // patch[1]) * patch[1])
            width = max(width, -(-frame_size[1] // patch[2]) * patch[2])
        return cls(frame_size, (height, width), (patch[1], patch[2]), tiles)

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of patches."""
        return self.size[0] // self.patch[0], self.size[1] // self.patch[1]

    def from_frame(self, frame: np.ndarray, hole: np.ndarray) -> Tensor:
        """Puts a frame on the canvas: uint8 [H, W, 3] -> float32 [3, h, w] in [0, 1].

        Each canvas pixel averages only the visible film pixels under it, so that nothing inside the hole,
        bool [H, W], leaks out.
        """
        visible = torch.from_numpy(~hole)[None, None].float()
        picture = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float() / 255 * visible
        if self.tiles:
            return self._pad(picture)[0]
        if self.size != self.frame_size:
            picture, visible = (
                F.interpolate(x, size=self.size, mode="bilinear", antialias=True) for x in (picture, visible)
            )
        return (picture / visible.clamp_min(1e-6)).clamp(0, 1)[0]

    def to_frame(self, picture: Tensor) -> np.ndarray:
        """Turns a canvas, float [3, h, w] in [0, 1] (clamped), back into a frame, uint8 [H, W, 3]."""
        if self.tiles:
            picture = picture[:, : self.frame_size[0], : self.frame_size[1]]
        elif self.size != self.frame_size:
            picture = F.interpolate(picture[None], size=self.frame_size, mode="bicubic", antialias=True)[0]
        return (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()

    def touched_patches(self, hole: np.ndarray) -> Tensor:
        """The patches that a hole, bool [H, W], touches: bool [rows, columns]."""
        picture = torch.from_numpy(hole)[None, None].float()
        if self.tiles:
            picture = self._pad(picture)
        return F.adaptive_max_pool2d(picture, self.grid)[0, 0] > 0

    def covered_pixels(self, patches: Tensor) -> np.ndarray:
        """The film's pixels whose centres lie in the patches, bool [rows, columns]: bool [H, W]."""
        places = []
        for side, whole, patch in zip(self.frame_size, self.size, self.patch, strict=True):
            scale = 1.0 if self.tiles else whole / side
            places.append(((torch.arange(side) + 0.5) * scale).long() // patch)
        return patches[places[0]][:, places[1]].numpy()

    def _pad(self, picture: Tensor) -> Tensor:
        """Repeats the right and bottom edges up to the canvas's size."""
        height, width = self.size
        pads = (0, width - picture.shape[3], 0, height - picture.shape[2])
        return F.pad(picture, pads, mode="replicate")
