"""Masked Autoencoders (He et al. 2022; in spacetime: Feichtenhofer et al. 2022), to compare with.

The encoder is DiffMAE's own. The decoder sees mask tokens in place of noised patches, knows no
timestep, and predicts in one pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffmae_video.errors import InputError
from diffmae_video.masks import Mask
from diffmae_video.models.encoder import Encoder
from diffmae_video.models.layers import Positions, initialize_linear, vit_block
from diffmae_video.models.masked import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Inpainting,
    MaskedAutoencoder,
    Output,
)


class MAE(MaskedAutoencoder):
    """A masked autoencoder with a joint decoder.

    Args:
        image_size, num_frames, patch, encoder: see :class:`~diffmae_video.models.diffmae.DiffMAE`.
        decoder: ``width``, ``depth``, ``heads``, ``mlp_ratio`` and ``positions`` of the decoder.
        mask, mean, std, normalize_target: see
            :class:`~diffmae_video.models.masked.MaskedAutoencoder`.
    """

    def __init__(
        self,
        image_size: Sequence[int] = (224, 224),
        num_frames: int = 16,
        patch: Sequence[int] = (2, 16, 16),
        encoder: dict[str, Any] | None = None,
        decoder: dict[str, Any] | None = None,
        mask: dict[str, Any] | None = None,
        normalize_target: bool = False,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__(
            Encoder(image_size, num_frames, patch, **(encoder or {})), mask, mean, std, normalize_target
        )
        self.decoder = MAEDecoder(self.encoder, **(decoder or {}))

    def forward(
        self,
        clip: Tensor,
        mask: Mask | None = None,
        t: Tensor | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Output:
        """The loss of a batch: mean squared error of masked patches.

        Args:
            clip: float [B, 3, T, H, W], normalised.
            mask: drawn when None.
            t, noise: not used; so that one training loop serves both models.
            generator: for the mask.
        """
        if mask is None:
            mask = self.draw_mask(clip, generator)
        prediction = self.decoder(self.encode_latents(clip, mask), mask)  # [B, M, P]
        return Output(F.mse_loss(prediction, self.target(clip, mask.masked)), prediction, mask)

    def encode_latents(self, clip: Tensor, mask: Mask) -> Tensor:
        """The encoder's tokens of the visible patches, class token included: [B, (1 +) V, D]."""
        return self.encoder.tap(clip, mask, [self.encoder.depth - 1])[0]

    @torch.no_grad()
    def inpaint(
        self,
        clip: Tensor,
        mask: Mask,
        sampler: str = "ddim",
        steps: int = 1,
        seed: int = 0,
        return_steps: bool = False,
    ) -> Inpainting:
        """Fills the masked patches of a clip with the prediction, in one pass.

        Args:
            clip: float [B, 3, T, H, W], normalised.
            mask: what to fill.
            sampler, steps, seed: not used; so that the same call serves both models.
            return_steps: keep the prediction as the one step; its timestep is given as 0.

        Raises:
            InputError: the model predicts normalised patches.
        """
        ((t, fill),) = self.inpaint_steps(clip, mask)
        filled = self.paste(clip, mask, fill)
        return Inpainting(filled, filled[None] if return_steps else None, [t])

    @torch.no_grad()
    def inpaint_steps(
        self, clip: Tensor, mask: Mask, sampler: str = "ddim", steps: int = 1, seed: int = 0
    ) -> Iterator[tuple[int, Tensor]]:
        """The one step of ``inpaint``: 0 as its timestep, and the masked patches [B, M, P]."""
        if self.normalize_target:
            raise InputError("this model predicts patches normalised one by one, which cannot be rendered")
        training = self.training
        self.eval()
        try:
            fill = self.decoder(self.encode_latents(clip, mask), mask)
        finally:
            self.train(training)
        yield 0, fill


class MAEDecoder(nn.Module):
    """Self-attention over the visible latents and mask tokens; width 512 and depth 8 are MAE's."""

    def __init__(
        self,
        encoder: Encoder,
        width: int = 512,
        depth: int = 8,
        heads: int = 16,
        mlp_ratio: float = 4.0,
        positions: str = "sincos",
    ) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"decoder width {width} does not divide by {heads} heads")
        self.embed = nn.Linear(encoder.width, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = Positions(positions, encoder.grid, width)
        self.blocks = nn.ModuleList(vit_block(width, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, 3 * encoder.patch[0] * encoder.patch[1] * encoder.patch[2])
        self.initialize_weights()

    def initialize_weights(self) -> None:
        self.apply(initialize_linear)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, latents: Tensor, mask: Mask) -> Tensor:
        """Latents [B, (1 +) V, D] -> predictions of the masked patches [B, M, P] in float32."""
        x = self.embed(latents)  # [B, (1 +) V, W]
        extra = x.shape[1] - mask.visible.shape[1]  # a class token has no position
        visible = x[:, extra:] + self.positions(mask.grid, mask.visible).to(x.dtype)
        masked = self.mask_token + self.positions(mask.grid, mask.masked).to(x.dtype)  # [B, M, W]
        x = torch.cat([x[:, :extra], visible, masked], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x[:, -mask.masked.shape[1] :])).float()  # [B, M, P]
