"""A network's features of a film of any length, frame by frame."""

import numpy as np
import torch
from torch import Tensor

from diffmae_video.inpainting.frechet import FeatureModel
from diffmae_video.inpainting.video_networks import resize_clips
from diffmae_video.runtime.device import default_device


class FilmFeatures:
    """Takes a film's features in clips of a few frames and averages them, so that memory does not grow.

    The last clip ends with the film and may overlap the one before; a shorter film repeats its last frame.

    Args:
        network: takes clips of ``frames`` frames of 224 x 224 pixels.
        frames: of a clip.
    """

    def __init__(self, network: FeatureModel, frames: int) -> None:
        self.network, self.frames = network, frames
        self.recent: list[np.ndarray] = []
        self.fresh = 0  # frames at the end of ``recent`` that no clip has had
        self.sum, self.count = torch.zeros(network.width), 0

    def add(self, frame: np.ndarray) -> None:
        """Takes the next frame, uint8 [H, W, 3]."""
        self.recent = [*self.recent[-self.frames + 1 :], frame]
        self.fresh += 1
        if self.fresh == self.frames:
            self._take(self.recent)

    def _take(self, frames: list[np.ndarray]) -> None:
        clip = torch.from_numpy(np.stack(frames)).to(default_device()).movedim(-1, 0).float() / 255
        self.sum += self.network(resize_clips(clip[None]))[0]
        self.count, self.fresh = self.count + 1, 0

    def mean(self) -> Tensor:
        """The mean over the clips, [D]. Call it once, after the last frame."""
        if self.fresh:
            self._take(self.recent + [self.recent[-1]] * (self.frames - len(self.recent)))
        return self.sum / self.count
