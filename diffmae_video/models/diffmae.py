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

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffmae_video.diffusion import NoiseSchedule, Sample, sample
from diffmae_video.masks import Mask
from diffmae_video.models.decoder import Decoder
from diffmae_video.models.encoder import Encoder
from diffmae_video.models.pretrained import Pretrained
from diffmae_video.tokens import Triple, gather_tokens, grid_of, patchify, unpatchify

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Output(NamedTuple):
    """What a training forward returns.

    Attributes:
        loss: scalar, float32.
        prediction: x0 of the masked patches [B, M, P], float32.
        mask: the mask that was drawn or given.
    """

    loss: Tensor
    prediction: Tensor
    mask: Mask


class Inpainting(NamedTuple):
    """What ``inpaint`` returns.

    Attributes:
        clip: the clip with its masked patches filled in; visible pixels are the input's own bits.
        steps: every step's x0 prediction, pasted into the clip, [S, B, 3, T, H, W]; or None.
        timesteps: the S timesteps, T first.
    """

    clip: Tensor
    steps: Tensor | None
    timesteps: list[int]


class DiffMAE(nn.Module, Pretrained):
    """The masked autoencoder that denoises.

    Args:
        image_size: (height, width) of the clips in pixels.
        num_frames: frames of a clip; 1 for images.
        patch: (frames, height, width) of a patch.
        encoder: further arguments of :class:`~diffmae_video.models.encoder.Encoder`.
        decoder: arguments of :class:`~diffmae_video.models.decoder.Decoder`: kind, width, depth,
            heads, mlp_ratio.
        schedule: arguments of :class:`~diffmae_video.diffusion.NoiseSchedule`.
        mask: ``kind`` and ``ratio`` of the masks that ``forward`` draws when it is given none.
        mean, std: of the normalisation that clips have gone through, on pixels in [0, 1].
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
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(image_size, num_frames, patch, **(encoder or {}))
        self.decoder = Decoder(
            grid=self.encoder.grid,
            patch=self.encoder.patch,
            encoder_width=self.encoder.width,
            encoder_depth=self.encoder.depth,
            **{"kind": "cross_self", **(decoder or {})},
        )
        self.schedule = NoiseSchedule(**(schedule or {}))
        self.mask = mask or {"kind": "random", "ratio": 0.9}
        self.mean, self.std = tuple(mean), tuple(std)

    @property
    def patch(self) -> Triple:
        return self.encoder.patch

    def draw_mask(self, clip: Tensor, generator: torch.Generator | None = None) -> Mask:
        """A mask of the model's own kind and ratio for a clip, on its device."""
        grid = grid_of((clip.shape[2], clip.shape[3], clip.shape[4]), self.patch)
        return Mask.draw(batch=len(clip), grid=grid, generator=generator, device=clip.device, **self.mask)

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

        Raises:
            InputError: the clip does not divide into patches, or the mask does not fit it.
        """
        if mask is None:
            mask = self.draw_mask(clip, generator)
        x0 = gather_tokens(patchify(clip, self.patch), mask.masked).float()  # [B, M, P]
        if t is None:
            t = torch.randint(
                1, self.schedule.timesteps + 1, (len(clip),), generator=generator, device=clip.device
            )
        if noise is None:
            noise = torch.randn(x0.shape, generator=generator, device=clip.device)
        xt = self.schedule.add_noise(x0, t, noise)  # [B, M, P]
        prediction = self.denoise(xt, t, self.encode_latents(clip, mask), mask)  # [B, M, P]
        return Output(F.mse_loss(prediction, x0), prediction, mask)

    def encode(self, clip: Tensor, mask: Mask | None = None) -> Tensor:
        """Patch tokens after the final norm: [B, N, D], with a mask [B, V, D]; no class token."""
        return self.encoder(clip, mask)

    def encode_latents(self, clip: Tensor, mask: Mask) -> list[Tensor]:
        """What the decoder reads of the visible patches: tapped encoder blocks, deepest first."""
        return self.encoder.tap(clip, mask, self.decoder.taps)

    def denoise(self, xt: Tensor, t: Tensor, latents: Sequence[Tensor], mask: Mask) -> Tensor:
        """The decoder alone: noised patches [B, M, P] at t int64 [B] -> x0 [B, M, P], float32."""
        return self.decoder(xt, t, self.decoder.context(latents), mask)

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
    ) -> Inpainting:
        """Fills the masked patches of a clip by running the reverse process.

        The encoder runs once, and so do the decoder's keys and values of the visible latents.

        Args:
            clip: float [B, 3, T, H, W], normalised; what stands in masked patches is never read.
            mask: what to fill.
            sampler, steps, spacing, eta: see :func:`diffmae_video.diffusion.sample`.
            seed: of all noise.
            return_steps: keep every step's x0 prediction.

        Raises:
            InputError: an unknown sampler, steps outside 1..T, or a mask that does not fit.
        """
        training = self.training
        self.eval()
        try:
            context = self.decoder.context(self.encode_latents(clip, mask))
            patches = patchify(clip, self.patch)  # [B, N, P]
            generator = torch.Generator(clip.device).manual_seed(seed)
            shape = (*mask.masked.shape, patches.shape[-1])
            result = sample(
                lambda xt, t: self.decoder(xt, t, context, mask),
                torch.randn(shape, generator=generator, device=clip.device),
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

        def paste(fill: Tensor) -> Tensor:
            index = mask.masked[..., None].expand_as(fill)
            return unpatchify(patches.scatter(1, index, fill.to(patches.dtype)), mask.grid, self.patch)

        timesteps = self.schedule.sampling_timesteps(steps, spacing)
        if isinstance(result, Sample):
            return Inpainting(
                paste(result.sample), torch.stack([paste(x0) for x0 in result.steps]), timesteps
            )
        return Inpainting(paste(result), None, timesteps)
