"""Diffusion models of whole clips: all pixels are noised and none masked (Ho et al. 2020)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from diffmae_video.diffusion import NoiseSchedule
from diffmae_video.errors import InputError
from diffmae_video.masks import Mask
from diffmae_video.models.backbone import Backbone
from diffmae_video.models.base import Inpainting, Output, PretrainingModel, repeat_clips
from diffmae_video.models.pixels import pixel_bounds
from diffmae_video.models.repaint import repaint_steps
from diffmae_video.runtime.eval_mode import evaluating

PREDICTIONS = ("x0", "eps")
PREVIEW_RESAMPLINGS = 4  # fewer than RePaint's 10, which takes as many times the steps


class DenoisingModel(PretrainingModel):
    """Loss and samplers around a network that denoises whole clips; a subclass adds the network.

    Args:
        encoder: the part of the network that recognition uses.
        schedule: arguments of :class:`~diffmae_video.diffusion.NoiseSchedule`.
        prediction: what the network predicts: ``eps``, the noise, or ``x0``.
        mean, std: of the normalisation that clips have gone through, on pixels in [0, 1].

    Raises:
        InputError: an unknown prediction or schedule.
    """

    schedule: NoiseSchedule
    generates: ClassVar[bool] = True

    def __init__(
        self,
        encoder: Backbone,
        schedule: dict[str, Any] | None,
        prediction: str,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__(encoder, mean, std)
        if prediction not in PREDICTIONS:
            raise InputError(f"unknown prediction {prediction!r}; choose from {', '.join(PREDICTIONS)}")
        self.schedule, self.prediction = NoiseSchedule(**(schedule or {})), prediction

    @abstractmethod
    def network(self, xt: Tensor, t: Tensor) -> Tensor:
        """Noised clips [B, 3, T, H, W] at t int64 [B] to the prediction, float32 of the same shape."""

    def noise_shape(self, clip: Tensor, mask: Mask | None) -> tuple[int, ...]:
        """The clip's own shape: (3, T, H, W)."""
        return tuple(clip.shape[1:])

    def objective(self, clip: Tensor, t: Tensor, noise: Tensor) -> Output:
        """The unweighted mean squared error ("simple", Ho et al. 2020).

        Args:
            clip: float [B, 3, T, H, W], normalised.
            t: int64 [B] in 1..T.
            noise: standard normal, of the clip's shape.
        """
        xt = self.schedule.add_noise(clip, t, noise)  # [B, 3, T, H, W]
        prediction = self.network(xt, t)  # [B, 3, T, H, W]
        target = clip if self.prediction == "x0" else noise
        return Output(F.mse_loss(prediction, target.float()), prediction)

    def predict_x0(self, xt: Tensor, t: Tensor) -> Tensor:
        """Noised clips [B, 3, T, H, W] at t int64 [B] -> x0 of the same shape, float32.

        Where the network predicts noise, x0 is clipped to the range of pixels, as by Ho et al. (2020).
        """
        prediction = self.network(xt, t)
        if self.prediction == "x0":
            return prediction
        low, high = (bound.view(3, 1, 1, 1) for bound in pixel_bounds(self.mean, self.std, xt.device))
        return self.schedule.x0_of(xt, t, prediction, (low, high))

    @torch.no_grad()
    def sample(
        self,
        count: int,
        sampler: str = "ddim",
        steps: int = 50,
        seed: int = 0,
        return_steps: bool = False,
        spacing: str = "angle",
        eta: float = 0.0,
    ) -> Inpainting:
        """Generates clips [count, 3, T, H, W], normalised, on the model's device.

        Args:
            sampler, steps, spacing, eta, return_steps: see :func:`diffmae_video.diffusion.sample`.
            seed: of all noise.
        """
        device = next(self.parameters()).device
        generator = torch.Generator(device).manual_seed(seed)
        noise = torch.randn((count, 3, *self.clip_size), generator=generator, device=device)
        timesteps, kept = [], []
        with evaluating(self):
            for t, x0 in self.reverse_steps(self.predict_x0, noise, sampler, steps, spacing, eta, generator):
                timesteps.append(t)
                if return_steps:
                    kept.append(x0)
        return Inpainting(x0, torch.stack(kept) if return_steps else None, timesteps)

    def fill_steps(
        self,
        clip: Tensor,
        mask: Mask,
        generator: torch.Generator,
        sampler: str,
        steps: int,
        num_samples: int,
        spacing: str = "angle",
        jump: int = 10,
        resamplings: int = 10,
    ) -> Iterator[tuple[int, Tensor]]:
        """RePaint, whose steps are ancestral; it takes about steps * resamplings forwards.

        Args:
            spacing, jump, resamplings: see :func:`diffmae_video.models.repaint.repaint_steps`.

        Raises:
            InputError: numbers that are too small, or steps above T.
        """
        clip, mask = repeat_clips(clip, mask, num_samples)
        hidden = mask.to_pixels(self.patch).expand_as(clip)
        run = repaint_steps(
            self.predict_x0, clip, hidden, self.schedule, steps, spacing, jump, resamplings, generator
        )
        for t, x0 in run:
            yield t, self.masked_patches(x0, mask)

    def previews(self, clip: Tensor, mask: Mask, steps: int) -> dict[str, Tensor]:
        """The clip inpainted by a short RePaint, and clips generated from noise."""
        filled = self.inpaint(clip, mask, steps=steps, resamplings=PREVIEW_RESAMPLINGS).clip
        return {f"RePaint, {steps} steps": filled, "generated": self.sample(len(clip), steps=steps).clip}
