"""Diffusion models of whole clips: everything is noised, nothing is masked (Ho et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffmae_video.diffusion import NoiseSchedule, Sample, sample
from diffmae_video.errors import InputError
from diffmae_video.masks import Mask
from diffmae_video.models.backbone import Backbone
from diffmae_video.models.masked import Inpainting, Output, pixel_bounds
from diffmae_video.models.pretrained import Pretrained
from diffmae_video.models.repaint import repaint
from diffmae_video.tokens import Triple

PREDICTIONS = ("x0", "eps")


class DenoisingModel(nn.Module, Pretrained):
    """What surrounds a network that denoises whole clips; a subclass is that network.

    Args:
        encoder: the part of the network that goes downstream.
        schedule: arguments of :class:`~diffmae_video.diffusion.NoiseSchedule`.
        prediction: of the network: ``eps``, the noise, or ``x0``.
        mean, std: of the normalisation that clips have gone through, on pixels in [0, 1].

    Raises:
        InputError: an unknown prediction or schedule.
    """

    encoder: Any

    def __init__(
        self,
        encoder: Backbone,
        schedule: dict[str, Any] | None,
        prediction: str,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        if prediction not in PREDICTIONS:
            raise InputError(f"unknown prediction {prediction!r}; there are {', '.join(PREDICTIONS)}")
        self.encoder = encoder
        self.schedule = NoiseSchedule(**(schedule or {}))
        self.prediction, self.mean, self.std = prediction, tuple(mean), tuple(std)

    @property
    def patch(self) -> Triple:
        """What masks are counted in."""
        patch: Triple = self.encoder.patch
        return patch

    def network(self, xt: Tensor, t: Tensor) -> Tensor:
        """Noised clips [B, 3, T, H, W] at t int64 [B] to what is predicted, float32 of the same shape."""
        raise NotImplementedError

    def recognition_part(self) -> Backbone:
        """What goes downstream: from clean clips to tokens, without a timestep to be given."""
        raise NotImplementedError

    def encode(self, clip: Tensor) -> Tensor:
        """Tokens [B, N, D] of clean clips."""
        raise NotImplementedError

    def noise_shape(self, clip: Tensor, mask: Mask) -> tuple[int, ...]:
        """Of the noise for one clip of a batch: the clip's own."""
        return tuple(clip.shape[1:])

    def forward(
        self,
        clip: Tensor,
        mask: Mask | None = None,
        t: Tensor | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Output:
        """The training loss of a batch: the unweighted mean squared error ("simple", Ho et al. 2020).

        Args:
            clip: float [B, 3, T, H, W], normalised by ``mean`` and ``std``.
            mask: not used; so that one training loop serves all models.
            t: int64 [B] in 1..T; drawn uniformly when None.
            noise: of the clip's shape; drawn when None.
            generator: for what is drawn; on the clip's device.
        """
        if t is None:
            t = torch.randint(
                1, self.schedule.timesteps + 1, (len(clip),), generator=generator, device=clip.device
            )
        if noise is None:
            noise = torch.randn(clip.shape, generator=generator, device=clip.device)
        prediction = self.network(self.schedule.add_noise(clip, t, noise), t)
        target = clip if self.prediction == "x0" else noise
        return Output(F.mse_loss(prediction, target.float()), prediction, None)

    def predict_x0(self, xt: Tensor, t: Tensor) -> Tensor:
        """Noised clips [B, 3, T, H, W] at t int64 [B] -> x0 of the same shape, float32.

        Of predicted noise x0 is cut to the range that pixels have (Ho et al. 2020 do so as well).
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
        """Makes clips up: [count, 3, T, H, W], normalised, on the model's device.

        Args:
            sampler, steps, spacing, eta, return_steps: see :func:`diffmae_video.diffusion.sample`.
            seed: of all noise.
        """
        device = next(self.parameters()).device
        sides = (n * side for n, side in zip(self.encoder.grid, self.patch, strict=True))
        generator = torch.Generator(device).manual_seed(seed)
        noise = torch.randn((count, 3, *sides), generator=generator, device=device)
        training = self.training
        self.eval()
        try:
            result = sample(
                self.predict_x0,
                noise,
                self.schedule,
                sampler,
                steps,
                spacing,
                eta,
                generator,
                return_steps,
            )
        finally:
            self.train(training)
        if isinstance(result, Sample):
            return Inpainting(*result)
        return Inpainting(result, None, self.schedule.sampling_timesteps(steps, spacing))

    @torch.no_grad()
    def inpaint(
        self,
        clip: Tensor,
        mask: Mask,
        sampler: str = "ddpm",
        steps: int = 50,
        seed: int = 0,
        return_steps: bool = False,
        spacing: str = "angle",
        jump: int = 10,
        resamplings: int = 10,
        num_samples: int = 1,
    ) -> Inpainting:
        """Fills the masked patches of a clip by RePaint; it takes about steps * resamplings forwards.

        Args:
            clip: float [B, 3, T, H, W], normalised; what stands in masked patches is never read.
            mask: what to fill.
            sampler: not used, RePaint's steps are ancestral; so that the same call serves all models.
            steps, spacing, jump, resamplings, return_steps: see :func:`diffmae_video.models.repaint.repaint`.
            seed: of all noise.
            num_samples: samples of each clip, side by side in the result's batch.

        Raises:
            InputError: numbers that are too small, or steps above T.
        """
        hidden = mask.to_pixels(self.patch).expand_as(clip)
        if num_samples > 1:
            clip, hidden = (x.repeat_interleave(num_samples, dim=0) for x in (clip, hidden))
        generator = torch.Generator(clip.device).manual_seed(seed)
        training = self.training
        self.eval()
        try:
            result = repaint(
                self.predict_x0,
                clip,
                hidden,
                self.schedule,
                steps,
                spacing,
                jump,
                resamplings,
                generator,
                return_steps,
            )
        finally:
            self.train(training)
        if isinstance(result, Sample):
            pasted = torch.where(hidden, result.steps.to(clip.dtype), clip)
            filled = torch.where(hidden, result.sample.to(clip.dtype), clip)
            return Inpainting(filled, pasted, result.timesteps)
        filled = torch.where(hidden, result.to(clip.dtype), clip)
        return Inpainting(filled, None, self.schedule.sampling_timesteps(steps, spacing))
