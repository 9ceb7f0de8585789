"""The loss of pre-training, with the noise that the objective reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffmae_video.data import TrainingClips, clips_on, normalise
from diffmae_video.randomness import random_state
from diffmae_video.training.loop import NOT_DATA


class PretrainingLoss:
    """The loss of a batch, with noise that depends only on the seed and on each video's place in the stream.

    A step is therefore the same for any number of processes and forward passes that share its videos. The one
    exception is a decoder that decodes a share of the patches, which is drawn for each forward pass.

    Args:
        size: (height, width) of the clips.
        mean, std: of the normalisation, one number per channel.
        repeats: clips per video.
        seed: of the noise.
    """

    def __init__(
        self,
        engine: Any,
        device: torch.device,
        *,
        size: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        repeats: int,
        seed: int,
    ) -> None:
        self.engine, self.device = engine, device
        self.size, self.mean, self.std = size, mean, std
        self.repeats, self.seed = repeats, seed
        self.generator = torch.Generator(device)

    def __call__(self, batch: TrainingClips) -> Tensor:
        clips = normalise(clips_on(batch.clips, self.size, self.device), self.mean, self.std)
        mask = None if batch.mask is None else batch.mask.to(self.device, non_blocking=True)
        t = None if batch.t is None else batch.t.to(self.device, non_blocking=True)
        shape = self.engine.module.noise_shape(clips, mask)
        noise = None
        if shape is not None:
            noise = torch.cat([self._noise(key.position, (self.repeats, *shape)) for key in batch.samples])
        loss: Tensor = self.engine(clips, mask=mask, t=t, noise=noise, generator=self.generator).loss
        return loss

    def _noise(self, position: int, shape: tuple[int, ...]) -> Tensor:
        self.generator.manual_seed(random_state(self.seed, position, NOT_DATA).initial_seed())
        return torch.randn(shape, generator=self.generator, device=self.device)
