"""Diffusion Models as Masked Autoencoders (Wei et al., ICCV 2023, arXiv 2304.03283).

A clip is cut into patches and some of them are masked. The encoder sees the visible patches,
clean. The decoder gets the masked patches *noised* at level t and predicts their clean pixels,
conditioned on the encoder's latents:

    z  = E(x0_v)                                          # a ViT; no t, no noise
    xt = sqrt(abar_t) x0_m + sqrt(1 - abar_t) eps         # noise on masked pixels only
    loss = mean over masked patches of (D(xt, t, z) - x0_m)^2

At t = T the input carries no signal, and the task is that of a masked autoencoder. Run from T down
to 1, the decoder is a generator that inpaints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from diffmae_video.diffusion import NoiseSchedule, PredictX0
from diffmae_video.errors import InputError
from diffmae_video.masks import Mask
from diffmae_video.models.activations import Activations
from diffmae_video.models.base import Output
from diffmae_video.models.cuda_graph import GraphedPredictor
from diffmae_video.models.decoder import Decoder, KeysValues
from diffmae_video.models.encoder import Encoder
from diffmae_video.models.masked_autoencoder import MaskedAutoencoder
from diffmae_video.models.pixels import IMAGENET_MEAN, IMAGENET_STD, pixel_bounds
from diffmae_video.tokens import gather_tokens

PREDICTIONS = ("x0", "eps")


class DiffMAE(MaskedAutoencoder):
    """A masked autoencoder whose decoder is a conditional diffusion model.

    Args:
        image_size: (height, width) of the clips in pixels.
        num_frames: frames of a clip; 1 for images.
        patch: (frames, height, width) of a patch.
        encoder: further arguments of :class:`~diffmae_video.models.encoder.Encoder`.
        decoder: arguments of :class:`~diffmae_video.models.decoder.Decoder`: kind, width, depth,
            heads, mlp_ratio, positions, block, qk_norm.
        schedule: arguments of :class:`~diffmae_video.diffusion.NoiseSchedule`.
        mask, mean, std, normalize_target: see
            :class:`~diffmae_video.models.masked_autoencoder.MaskedAutoencoder`. With ``normalize_target`` the
            noise is on the normalised patches too.
        prediction: ``x0``, or ``eps`` for ablations: the decoder then predicts the noise.
        decode_fraction: share of the masked patches, drawn uniformly for each clip, that a training
            forward decodes; only for the ``cross`` decoder, whose tokens do not see each other (our choice).
        shared_noise: correlation, 0 to 1, of the noise from which sampling starts between patches in the same
            place at different times. A patch of the ``cross`` decoder sees no other, so independent noise
            makes independent samples, which flicker. Correlated noise leaves each patch's own distribution as
            it is (our choice).
        weighting: of the training loss by timestep, see
            :meth:`~diffmae_video.diffusion.NoiseSchedule.loss_weights`; evaluation weighs all alike.
        token_timesteps: train with a timestep for each masked patch instead of one for each clip. With the
            ``cross`` decoder a token's prediction depends on its own timestep alone, so the expected loss is
            the same and its gradient varies less (our choice). Sampling gives all patches one timestep.

    Raises:
        InputError: an unknown name, sizes that do not fit together, a weighting of predicted noise, or a
            fraction outside (0, 1] or below 1 with a decoder that is not ``cross``.
    """

    schedule: NoiseSchedule
    loss_weights: Tensor

    def __init__(
        self,
        image_size: Sequence[int] = (224, 224),
        num_frames: int = 16,
        patch: Sequence[int] = (2, 16, 16),
        encoder: dict[str, Any] | None = None,
        decoder: dict[str, Any] | None = None,
        schedule: dict[str, Any] | None = None,
        mask: dict[str, Any] | None = None,
        prediction: str = "x0",
        normalize_target: bool = False,
        decode_fraction: float = 1.0,
        token_timesteps: bool = False,
        weighting: str = "x0",
        shared_noise: float = 0.0,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__(
            Encoder(image_size, num_frames, patch, **(encoder or {})), mask, mean, std, normalize_target
        )
        self.schedule = NoiseSchedule(**(schedule or {}))
        self.decoder = Decoder(
            grid=self.encoder.grid,
            patch=self.encoder.patch,
            encoder_width=self.encoder.width,
            encoder_depth=self.encoder.depth,
            timesteps=self.schedule.timesteps,
            **{"kind": "cross_self", **(decoder or {})},
        )
        if prediction not in PREDICTIONS:
            raise InputError(f"unknown prediction {prediction!r}; choose from {', '.join(PREDICTIONS)}")
        if weighting != "x0" and prediction != "x0":
            raise InputError(
                f"DIFFUSION.WEIGHTING {weighting} weighs the error of x0; set MODEL.PREDICTION x0, not "
                f"{prediction}"
            )
        if not 0 < decode_fraction <= 1:
            raise InputError(f"decode_fraction is a share in (0, 1], got {decode_fraction}")
        if decode_fraction < 1 and self.decoder.kind != "cross":
            raise InputError(
                f"decode_fraction {decode_fraction} needs the cross decoder: the noised tokens of "
                f"{self.decoder.kind} attend to each other"
            )
        if token_timesteps and self.decoder.kind != "cross":
            raise InputError(
                f"token_timesteps needs the cross decoder: the noised tokens of {self.decoder.kind} attend "
                "to each other and would read the nearly clean pixels of their neighbours"
            )
        if not 0 <= shared_noise <= 1:
            raise InputError(f"shared_noise is a correlation from 0 to 1, got {shared_noise}")
        if shared_noise and self.decoder.kind != "cross":
            raise InputError(
                f"shared_noise needs the cross decoder: the noised tokens of {self.decoder.kind} attend to "
                "each other and were trained on independent noise"
            )
        self.shared_noise = shared_noise
        self.prediction, self.decode_fraction = prediction, decode_fraction
        self.token_timesteps, self.weighting = token_timesteps, weighting
        weights = self.schedule.loss_weights(weighting).float()
        self.register_buffer("loss_weights", weights, persistent=False)  # [T]; index 0 is t = 1

    # --- the method -------------------------------------------------------------------------

    def objective(self, clip: Tensor, mask: Mask, t: Tensor, noise: Tensor) -> Output:
        """The denoising loss on masked patches, of x0 or of the noise.

        Args:
            clip: float [B, 3, T, H, W], normalised; or uint8, as it was decoded.
            mask: visible [B, V] and masked [B, M].
            t: int64 [B] in 1..T, or [B, M].
            noise: standard normal, [B, M, P].
        """
        visible, masked = self.split(clip, mask)  # [B, V, P], [B, M, P]
        x0 = self.target(masked)  # [B, M, P]
        xt = self.schedule.add_noise(x0, t, noise)  # [B, M, P]
        latents = self.encoder.tap_patches(visible, mask, self.decoder.taps)  # each [B, (1 +) V, D]
        context = self.decoder.context(latents, mask)  # keys and values of each decoder block
        prediction = self.decoder(xt, t, context, mask)  # [B, M, P]
        target = x0 if self.prediction == "x0" else noise.float()
        if self.weighting == "x0" or not self.training:
            return Output(F.mse_loss(prediction, target), prediction, mask)
        errors = (prediction - target).square().mean(-1)  # [B, M]
        weights = self.loss_weights[t - 1].float()  # [B] or [B, M]
        loss = (errors * (weights if t.ndim == 2 else weights[:, None])).mean()
        return Output(loss, prediction, mask)

    def noise_shape(self, clip: Tensor, mask: Mask | None) -> tuple[int, int]:
        """(M, P): masked patches, values of a patch."""
        assert mask is not None
        return (mask.masked.shape[1], self.decoder.head.out_features)

    def encode_latents(self, clip: Tensor, mask: Mask) -> list[Tensor]:
        """What the decoder reads of the visible patches: tapped encoder blocks, deepest first."""
        return self.encoder.tap(clip, mask, self.decoder.taps)

    def denoise(self, xt: Tensor, t: Tensor, latents: Sequence[Tensor], mask: Mask) -> Tensor:
        """The decoder alone: noised patches [B, M, P] at t int64 [B] -> x0 [B, M, P], float32."""
        return self.predict_x0(xt, t, self.decoder.context(latents, mask), mask)

    def predict_x0(
        self, xt: Tensor, t: Tensor, context: list[Tensor] | list[KeysValues], mask: Mask
    ) -> Tensor:
        """:meth:`denoise` with the decoder's ``context`` of the latents, computed once for all steps."""
        prediction = self.decoder(xt, t, context, mask)
        if self.prediction == "x0":
            return prediction
        bounds = pixel_bounds(self.mean, self.std, xt.device)
        channels, noise = xt.unflatten(-1, (-1, 3)), prediction.unflatten(-1, (-1, 3))  # [B, M, P / 3, 3]
        return self.schedule.x0_of(channels, t, noise, bounds).flatten(-2)

    # --- inpainting -------------------------------------------------------------------------

    def predictor(self, clip: Tensor, mask: Mask, num_samples: int = 1) -> PredictX0:
        self.check_inpainter()
        context = self.decoder.context(self.encode_latents(clip, mask), mask)
        if num_samples > 1:
            context = self.decoder.repeat(context, num_samples)
            mask = mask.repeat_interleave(num_samples)
        return lambda xt, t: self.predict_x0(xt, t, context, mask)

    def fill_steps(
        self,
        clip: Tensor,
        mask: Mask,
        generator: torch.Generator,
        sampler: str,
        steps: int,
        num_samples: int,
        spacing: str = "angle",
        eta: float = 0.0,
        cuda_graph: bool = False,
    ) -> Iterator[tuple[int, Tensor]]:
        """The reverse process on the masked patches.

        Args:
            spacing, eta: see :func:`diffmae_video.diffusion.sample`.
            cuda_graph: replay the decoder as a CUDA graph, which pays for few clips and many steps; for clips
                of the model's own size and models that predict x0.

        Raises:
            InputError: ``cuda_graph`` without a CUDA device.
        """
        predict_x0 = self.predictor(clip, mask, num_samples)
        if cuda_graph:
            predict_x0 = GraphedPredictor(predict_x0)
        noise = self.first_noise(mask.repeat_interleave(num_samples), generator)  # [B * num_samples, M, P]
        return self.reverse_steps(predict_x0, noise, sampler, steps, spacing, eta, generator)

    def first_noise(self, mask: Mask, generator: torch.Generator) -> Tensor:
        """x_T of the masked patches, from which sampling starts: standard normal, [B, M, P]."""
        batch, masked, device = mask.batch, mask.masked.shape[1], mask.masked.device
        values = self.decoder.head.out_features
        noise = torch.randn((batch, masked, values), generator=generator, device=device)
        if not self.shared_noise:
            return noise
        _, h, w = mask.grid
        still = torch.randn((batch, h * w, values), generator=generator, device=device)
        shared = gather_tokens(still, mask.masked % (h * w))  # [B, M, P]
        return self.shared_noise**0.5 * shared + (1 - self.shared_noise) ** 0.5 * noise

    def previews(self, clip: Tensor, mask: Mask, steps: int) -> dict[str, Tensor]:
        """The first prediction, which is MAE's task, and a sample."""
        if self.normalize_target:
            return {}
        return {
            "x0 at t = T": self.inpaint(clip, mask, steps=1).clip,
            f"sample, {steps} steps": self.inpaint(clip, mask, steps=steps).clip,
        }

    # --- decoding a share of the masked patches -----------------------------------------------

    def forward(
        self,
        clip: Tensor,
        mask: Mask | None = None,
        t: Tensor | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        times: Tensor | None = None,
    ) -> Output:
        """See :meth:`PretrainingModel.forward`; in training only a ``decode_fraction`` is decoded."""
        if not self.training or self.decode_fraction == 1:
            return super().forward(clip, mask, t, noise, generator, times)
        mask = (self.draw_mask(clip, generator) if mask is None else mask).at(times)
        decoded, t, noise = draw_subset(mask, t, noise, self.decode_fraction, generator)
        output = super().forward(clip, decoded, t, noise, generator)
        return output._replace(mask=mask, decoded=decoded.masked)

    def decoder_activations(self, mask: Mask) -> Activations:
        masked = max(1, round(mask.masked.shape[1] * self.decode_fraction))
        seen = mask.visible.shape[1] + self.encoder.has_class_token
        return self.decoder.activations(seen, masked)


def draw_subset(
    mask: Mask, t: Tensor | None, noise: Tensor | None, fraction: float, generator: torch.Generator | None
) -> tuple[Mask, Tensor | None, Tensor | None]:
    """The mask with a share of each clip's masked tokens, drawn uniformly, and their t and noise."""
    batch, count = mask.masked.shape
    kept = max(1, round(int(count) * fraction))  # int: a shape is a tensor while FLOPs are traced
    device = mask.masked.device
    order = torch.rand(batch, count, generator=generator, device=device).argsort(dim=1)[:, :kept]
    order = order.sort(dim=1).values
    if noise is not None:
        noise = noise.gather(1, order[..., None].expand(-1, -1, noise.shape[-1]))
    if t is not None and t.ndim == 2:
        t = t.gather(1, order)  # [B, K]
    return replace(mask, masked=mask.masked.gather(1, order)), t, noise
