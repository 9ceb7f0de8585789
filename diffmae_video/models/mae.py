"""Masked Autoencoders (He et al. 2022; in spacetime: Feichtenhofer et al. 2022), to compare with.

The encoder is DiffMAE's. The decoder sees mask tokens in place of noised patches and no timestep, and
predicts in one pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffmae_video.diffusion import PredictX0
from diffmae_video.errors import InputError
from diffmae_video.masks import Mask
from diffmae_video.models.activations import ATTENTION, MLP, Activations, BlockStack
from diffmae_video.models.base import Output
from diffmae_video.models.block_kinds import norm_layer
from diffmae_video.models.encoder import Encoder
from diffmae_video.models.layers import Positions, ViTBlock, initialize_linear
from diffmae_video.models.masked_autoencoder import MaskedAutoencoder
from diffmae_video.models.pixels import IMAGENET_MEAN, IMAGENET_STD


class MAE(MaskedAutoencoder):
    """A masked autoencoder with a joint decoder.

    Args:
        image_size, num_frames, patch, encoder: see :class:`~diffmae_video.models.diffmae.DiffMAE`.
        decoder: ``width``, ``depth``, ``heads``, ``mlp_ratio``, ``positions``, ``block`` and ``qk_norm``.
        mask, mean, std, normalize_target: see
            :class:`~diffmae_video.models.masked_autoencoder.MaskedAutoencoder`.
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

    def objective(self, clip: Tensor, mask: Mask) -> Output:
        """The mean squared error of the masked patches.

        Args:
            clip: float [B, 3, T, H, W], normalised; or uint8, as it was decoded.
            mask: visible [B, V] and masked [B, M].
        """
        visible, masked = self.split(clip, mask)  # [B, V, P], [B, M, P]
        prediction = self.decode(self.encoder.tap_patches(visible, mask, [self.encoder.depth - 1]), mask)
        return Output(F.mse_loss(prediction, self.target(masked)), prediction, mask)

    def decode(self, latents: list[Tensor], mask: Mask) -> Tensor:
        """The masked patches [B, M, P], float32, by the last block's latents [B, (1 +) V, D]."""
        return self.decoder(latents[0], mask)

    def predict(self, clip: Tensor, mask: Mask) -> Tensor:
        """The masked patches [B, M, P], float32, from the visible ones."""
        return self.decode(self.encoder.tap(clip, mask, [self.encoder.depth - 1]), mask)

    def predictor(self, clip: Tensor, mask: Mask, num_samples: int = 1) -> PredictX0:
        self.check_inpainter()
        prediction = self.predict(clip, mask).repeat_interleave(num_samples, dim=0)
        return lambda xt, t: prediction

    def fill_steps(
        self,
        clip: Tensor,
        mask: Mask,
        generator: torch.Generator,
        sampler: str,
        steps: int,
        num_samples: int,
    ) -> Iterator[tuple[int, Tensor]]:
        """The prediction, as the one step at t = 0."""
        return self.reverse_steps(self.predictor(clip, mask, num_samples), clip, sampler, steps)

    def previews(self, clip: Tensor, mask: Mask, steps: int) -> dict[str, Tensor]:
        return {} if self.normalize_target else {"prediction": self.inpaint(clip, mask).clip}

    def decoder_activations(self, mask: Mask) -> Activations:
        return self.decoder.activations(
            mask.visible.shape[1] + self.encoder.has_class_token, mask.masked.shape[1]
        )


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
        block: str = "vit",
        qk_norm: bool = False,
    ) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"decoder width {width} does not divide by {heads} heads")
        self.embed = nn.Linear(encoder.width, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = Positions(positions, encoder.grid, width, width // heads)
        self.blocks = nn.ModuleList(
            ViTBlock(width, heads, mlp_ratio, block=block, qk_norm=qk_norm) for _ in range(depth)
        )
        self.norm = norm_layer(block, width)
        self.head = nn.Linear(width, 3 * encoder.patch[0] * encoder.patch[1] * encoder.patch[2])
        self.initialize_weights()

    def initialize_weights(self) -> None:
        self.apply(initialize_linear)
        nn.init.normal_(self.mask_token, std=0.02)

    def no_weight_decay(self) -> set[str]:
        return {"mask_token"}

    def forward(self, latents: Tensor, mask: Mask) -> Tensor:
        """Latents [B, (1 +) V, D] -> predictions of the masked patches [B, M, P] in float32."""
        x = self.embed(latents)  # [B, (1 +) V, W]
        extra = x.shape[1] - mask.visible.shape[1]  # a class token has no position
        visible = x[:, extra:] + self.positions(mask.grid, mask.visible, x.dtype)
        masked = self.mask_token.expand(*mask.masked.shape, -1)
        masked = masked + self.positions(mask.grid, mask.masked, x.dtype)  # [B, M, W]
        x = torch.cat([x[:, :extra], visible, masked], dim=1)  # [B, (1 +) V + M, W]
        rotation = self.positions.rotation(mask.grid, mask.tokens, x.device, extra, mask.times)
        for block in self.blocks:
            x = block(x, rotation)
        return self.head(self.norm(x[:, -mask.masked.shape[1] :])).float()  # [B, M, P]

    def activations(self, seen: int, masked: int) -> Activations:
        """What decoding ``masked`` patches by ``seen`` latents keeps for backward, for one clip."""
        width, patch = self.head.in_features, self.head.out_features
        stack = BlockStack(seen + masked, width, len(self.blocks), ATTENTION + MLP)
        around = seen * self.embed.in_features + 2 * masked * width  # latents; final norm and head
        return Activations([stack], around, 2 * masked * patch)
