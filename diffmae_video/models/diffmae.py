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
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from diffmae_video.diffusion import NoiseSchedule, sample_steps
from diffmae_video.errors import InputError
from diffmae_video.masks import Mask
from diffmae_video.models.decoder import Decoder, KeysValues
from diffmae_video.models.encoder import Encoder
from diffmae_video.models.masked import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Inpainting,
    MaskedAutoencoder,
    Output,
    pixel_bounds,
)

PREDICTIONS = ("x0", "eps")


class DiffMAE(MaskedAutoencoder):
    """The masked autoencoder that denoises.

    Args:
        image_size: (height, width) of the clips in pixels.
        num_frames: frames of a clip; 1 for images.
        patch: (frames, height, width) of a patch.
        encoder: further arguments of :class:`~diffmae_video.models.encoder.Encoder`.
        decoder: arguments of :class:`~diffmae_video.models.decoder.Decoder`: kind, width, depth,
            heads, mlp_ratio, positions.
        schedule: arguments of :class:`~diffmae_video.diffusion.NoiseSchedule`.
        mask, mean, std, normalize_target: see
            :class:`~diffmae_video.models.masked.MaskedAutoencoder`. With ``normalize_target`` the
            noise is on the normalised patches too.
        prediction: ``x0``, or ``eps`` for ablations: the decoder then predicts the noise.
        decode_fraction: share of the masked patches, drawn uniformly for each clip, that a training
            forward decodes; for the ``cross`` decoder, whose tokens need no other one (our choice).

    Raises:
        InputError: an unknown name, sizes that do not fit together, or a fraction outside (0, 1]
            or below 1 with a decoder that is not ``cross``.
    """

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
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__(
            Encoder(image_size, num_frames, patch, **(encoder or {})), mask, mean, std, normalize_target
        )
        self.decoder = Decoder(
            grid=self.encoder.grid,
            patch=self.encoder.patch,
            encoder_width=self.encoder.width,
            encoder_depth=self.encoder.depth,
            **{"kind": "cross_self", **(decoder or {})},
        )
        if prediction not in PREDICTIONS:
            raise InputError(f"unknown prediction {prediction!r}; there are {', '.join(PREDICTIONS)}")
        if not 0 < decode_fraction <= 1:
            raise InputError(f"decode_fraction is a share in (0, 1], got {decode_fraction}")
        if decode_fraction < 1 and self.decoder.kind != "cross":
            raise InputError(
                f"decode_fraction {decode_fraction} needs the cross decoder: the noised tokens of "
                f"{self.decoder.kind} attend to each other"
            )
        self.schedule = NoiseSchedule(**(schedule or {}))
        self.prediction, self.decode_fraction = prediction, decode_fraction

    def forward(
        self,
        clip: Tensor,
        mask: Mask | None = None,
        t: Tensor | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Output:
        """The training loss of a batch.

        Args:
            clip: float [B, 3, T, H, W], normalised by ``mean`` and ``std``.
            mask: drawn when None.
            t: int64 [B] in 1..T; drawn uniformly when None.
            noise: [B, M, P]; drawn when None.
            generator: for what is drawn; on the clip's device.

        Returns:
            The loss and the prediction of x0, or of the noise where the model predicts that.

        Raises:
            InputError: the clip does not divide into patches, or the mask does not fit it.
        """
        if mask is None:
            mask = self.draw_mask(clip, generator)
        wanted, decoded = mask, None
        if self.training and self.decode_fraction < 1:
            wanted, decoded, noise = self._subset(mask, noise, generator)
        x0 = self.target(clip, wanted.masked)  # [B, M, P]
        if t is None:
            t = torch.randint(
                1, self.schedule.timesteps + 1, (len(clip),), generator=generator, device=clip.device
            )
        if noise is None:
            noise = torch.randn(x0.shape, generator=generator, device=clip.device)
        xt = self.schedule.add_noise(x0, t, noise)  # [B, M, P]
        context = self.decoder.context(self.encode_latents(clip, mask))
        prediction = self.decoder(xt, t, context, wanted)  # [B, M, P]
        loss = F.mse_loss(prediction, x0 if self.prediction == "x0" else noise.float())
        return Output(loss, prediction, mask, decoded)

    def encode_latents(self, clip: Tensor, mask: Mask) -> list[Tensor]:
        """What the decoder reads of the visible patches: tapped encoder blocks, deepest first."""
        return self.encoder.tap(clip, mask, self.decoder.taps)

    def denoise(self, xt: Tensor, t: Tensor, latents: Sequence[Tensor], mask: Mask) -> Tensor:
        """The decoder alone: noised patches [B, M, P] at t int64 [B] -> x0 [B, M, P], float32."""
        return self.predict_x0(xt, t, self.decoder.context(latents), mask)

    @torch.no_grad()
    def inpaint(
        self,
        clip: Tensor,
        mask: Mask,
        sampler: str = "ddim",
        steps: int = 50,
        seed: int = 0,
        return_steps: bool = False,
        spacing: str = "angle",
        eta: float = 0.0,
        num_samples: int = 1,
    ) -> Inpainting:
        """Fills the masked patches of a clip by running the reverse process.

        The encoder runs once, and so do the decoder's keys and values of the visible latents.

        Args:
            clip: float [B, 3, T, H, W], normalised; what stands in masked patches is never read.
            mask: what to fill.
            sampler, steps, spacing, eta: see :func:`diffmae_video.diffusion.sample`.
            seed: of all noise.
            return_steps: keep every step's x0 prediction.
            num_samples: samples of each clip; more than 1 make the result's batch B * num_samples,
                the samples of a clip side by side.

        Raises:
            InputError: an unknown sampler, steps outside 1..T, a mask that does not fit, or a model
                that predicts normalised patches.
        """
        fills = self.inpaint_steps(clip, mask, sampler, steps, seed, spacing, eta, num_samples)
        if num_samples > 1:
            clip = clip.repeat_interleave(num_samples, dim=0)
            mask = mask.repeat_interleave(num_samples)
        timesteps, pictures = [], []
        for t, fill in fills:
            timesteps.append(t)
            if return_steps:
                pictures.append(self.paste(clip, mask, fill))
        filled = self.paste(clip, mask, fill)
        return Inpainting(filled, torch.stack(pictures) if return_steps else None, timesteps)

    @torch.no_grad()
    def inpaint_steps(
        self,
        clip: Tensor,
        mask: Mask,
        sampler: str = "ddim",
        steps: int = 50,
        seed: int = 0,
        spacing: str = "angle",
        eta: float = 0.0,
        num_samples: int = 1,
    ) -> Iterator[tuple[int, Tensor]]:
        """``inpaint`` step by step, to be watched or left early.

        Args, raises: those of :meth:`inpaint`.

        Returns:
            Each t and its prediction of the masked patches [B * num_samples, M, P], which ``paste`` puts
            into the clip. The last ones are those of ``inpaint``'s clip.
        """
        if self.normalize_target:
            raise InputError("this model predicts patches normalised one by one, which cannot be rendered")
        training = self.training
        self.eval()
        try:
            context = self.decoder.context(self.encode_latents(clip, mask))
            if num_samples > 1:
                context = _repeat(context, num_samples)
                mask = mask.repeat_interleave(num_samples)
            generator = torch.Generator(clip.device).manual_seed(seed)
            shape = (*mask.masked.shape, self.decoder.head.out_features)
            yield from sample_steps(
                lambda xt, t: self.predict_x0(xt, t, context, mask),
                torch.randn(shape, generator=generator, device=clip.device),
                self.schedule,
                sampler,
                steps,
                spacing,
                eta,
                generator,
            )
        finally:
            self.train(training)

    def predict_x0(
        self, xt: Tensor, t: Tensor, context: list[Tensor] | list[KeysValues], mask: Mask
    ) -> Tensor:
        """:meth:`denoise` with what the decoder's ``context`` made of the latents, once for all steps."""
        prediction = self.decoder(xt, t, context, mask)
        if self.prediction == "x0":
            return prediction
        bounds = pixel_bounds(self.mean, self.std, xt.device)
        channels, noise = xt.unflatten(-1, (-1, 3)), prediction.unflatten(-1, (-1, 3))  # [B, M, P / 3, 3]
        return self.schedule.x0_of(channels, t, noise, bounds).flatten(-2)

    def _subset(
        self, mask: Mask, noise: Tensor | None, generator: torch.Generator | None
    ) -> tuple[Mask, Tensor, Tensor | None]:
        """A uniform draw of the masked tokens for each clip, with its share of the noise."""
        batch, count = mask.masked.shape
        kept = max(1, round(count * self.decode_fraction))
        device = mask.masked.device
        order = torch.rand(batch, count, generator=generator, device=device).argsort(dim=1)[:, :kept]
        order = order.sort(dim=1).values
        decoded = mask.masked.gather(1, order)
        if noise is not None:
            noise = noise.gather(1, order[..., None].expand(-1, -1, noise.shape[-1]))
        return Mask(mask.visible, decoded, mask.grid), decoded, noise


def _repeat(context: list[Any], count: int) -> list[Any]:
    """Each clip's part of the decoder's context, ``count`` times."""
    return [
        tuple(x.repeat_interleave(count, 0) for x in entry)
        if isinstance(entry, tuple)
        else entry.repeat_interleave(count, 0)
        for entry in context
    ]
