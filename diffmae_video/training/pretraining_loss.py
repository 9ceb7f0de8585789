"""The loss of pre-training, with the noise that the objective reads."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffmae_video.data import TrainingClips, clips_on
from diffmae_video.randomness import random_state
from diffmae_video.training.loop import NOT_DATA


class PretrainingLoss:
    """The loss of a batch, with noise that depends only on the seed and on each video's place in the stream.

    A step is therefore the same for any number of processes and forward passes that share its videos. The one
    exception is a decoder that decodes a share of the patches, which is drawn for each forward pass.

    Args:
        size: (height, width) of the clips.
        repeats: clips per video.
        seed: of the noise.
    """

    def __init__(
        self,
        engine: Any,
        device: torch.device,
        *,
        size: Sequence[int],
        repeats: int,
        seed: int,
    ) -> None:
        self.engine, self.device = engine, device
        self.size, self.repeats, self.seed = size, repeats, seed
        self.precision = next(engine.module.parameters()).dtype  # the noise's
        self.generator = torch.Generator(device)

    def __call__(self, batch: TrainingClips) -> Tensor:
        clips = clips_on(batch.clips, self.size, self.device).movedim(-1, 1)  # uint8 [B, 3, T, H, W]
        mask = None if batch.mask is None else batch.mask.to(self.device, non_blocking=True)
        t = None if batch.t is None else batch.t.to(self.device, non_blocking=True)
        shape = self.engine.module.noise_shape(clips, mask)
        noise = None
        if shape is not None:
            noise = torch.empty((len(clips), *shape), dtype=self.precision, device=self.device)
            for key, part in zip(batch.samples, noise.split(self.repeats), strict=True):
                self._draw_noise(key.position, part)
        return self.engine(clips, mask=mask, t=t, noise=noise, generator=self.generator).loss

    def _draw_noise(self, position: int, noise: Tensor) -> None:
        """Fills the noise of one video's clips."""
        self.generator.manual_seed(random_state(self.seed, position, NOT_DATA).initial_seed())
        noise.normal_(generator=self.generator)
