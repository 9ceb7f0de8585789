"""Small films and holes in memory, for tests of fitting."""

import numpy as np
import torch

from diffmae_video.film.canvas import Canvas
from diffmae_video.film.holes import Hole
from tests.repository import ROOT

# The recipe of a fit, with a small model and small windows, for a step that takes no time.
SMALL_FIT = f"""
_BASE_: {ROOT / "configs/film/fit.yaml"}
MODEL: {{ENCODER: {{WIDTH: 64, DEPTH: 1}}, DECODER: {{WIDTH: 64, DEPTH: 1}}}}
DATA: {{NUM_FRAMES: 8, SIZE: [32, 32]}}
"""


def textured(height, width, seed=0):
    """A smooth random picture, uint8 [height, width, 3]."""
    noise = torch.rand(1, 3, height // 8 + 2, width // 8 + 2, generator=torch.Generator().manual_seed(seed))
    picture = torch.nn.functional.interpolate(noise, size=(height, width), mode="bicubic").clamp(0, 1)
    return (255 * picture[0]).byte().permute(1, 2, 0).numpy()


def panning(frames, height=48, width=64, step=(0, 3), seed=0):
    """A film of a camera that moves by ``step`` pixels a frame over a picture: uint8 [n, H, W, 3]."""
    whole = textured(height + frames * abs(step[0]), width + frames * abs(step[1]), seed)
    return np.stack(
        [whole[t * step[0] : t * step[0] + height, t * step[1] : t * step[1] + width] for t in range(frames)]
    )


def moving_box(frames, height=48, width=64, side=14):
    """A hole that walks through the frame: bool [n, H, W]."""
    hidden = np.zeros((frames, height, width), bool)
    for t in range(frames):
        left = (8 + 2 * t) % (width - side)
        hidden[t, 16 : 16 + side, left : left + side] = True
    return hidden


class ArrayVideo:
    """A film in memory, read as :class:`~diffmae_video.decoding.VideoReader` is."""

    def __init__(self, frames, fps=25.0):
        self.array, self.fps = frames, fps
        self.num_frames, self.height, self.width = frames.shape[:3]
        self.times = np.arange(len(frames)) / fps

    def frames(self, indices):
        return self.array[list(indices)]


class ArrayHole(Hole):
    def __init__(self, hidden):
        height, width = hidden.shape[1:]
        super().__init__(Canvas((height, width), (height, width), (8, 8), True))
        self.hidden = hidden

    def pixels(self, first, last):
        return self.hidden[first:last]
