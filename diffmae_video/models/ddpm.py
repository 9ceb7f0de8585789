"""DDPM on a ViT: all tokens are noised, and the timestep is an additional token.

This is "DDPM, ViT-L" of DiffMAE's comparison. The loss is that of Ho et al. (2020); the network is
DiffMAE's encoder with a linear head, and the timestep's token takes the place of a class token. In
recognition the clip is clean and t = 0, so that this token is a constant vector. It is stored as a class
token (our choice), and the backbone is a plain :class:`~diffmae_video.models.encoder.Encoder`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffmae_video.masks import Mask
from diffmae_video.models.denoising import DenoisingModel
from diffmae_video.models.encoder import Encoder
from diffmae_video.models.layers import TimestepEmbedding, initialize_linear
from diffmae_video.models.pixels import IMAGENET_MEAN, IMAGENET_STD
from diffmae_video.tokens import grid_of, unpatchify


class DDPM(DenoisingModel):
    """A ViT that denoises whole clips.

    Args:
        image_size, num_frames, patch, encoder: see :class:`~diffmae_video.models.diffmae.DiffMAE`; the
            encoder has no other class token.
        schedule, prediction, mean, std: see :class:`~diffmae_video.models.denoising.DenoisingModel`.
    """

    encoder: Encoder

    def __init__(
        self,
        image_size: Sequence[int] = (224, 224),
        num_frames: int = 16,
        patch: Sequence[int] = (2, 16, 16),
        encoder: dict[str, Any] | None = None,
        schedule: dict[str, Any] | None = None,
        prediction: str = "eps",
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        arguments = {**(encoder or {}), "class_token": False}
        super().__init__(Encoder(image_size, num_frames, patch, **arguments), schedule, prediction, mean, std)
        self.timestep = TimestepEmbedding(self.encoder.width)
        self.head = nn.Linear(self.encoder.width, self.encoder.patch_embed.in_features)
        self.timestep.apply(initialize_linear)
        self.head.apply(initialize_linear)

    def network(self, xt: Tensor, t: Tensor) -> Tensor:
        patches = self.head(self._tokens(xt, t)).float()  # [B, N, P]
        sides = (xt.shape[2], xt.shape[3], xt.shape[4])
        return unpatchify(patches, grid_of(sides, self.patch), self.patch)

    def encode(self, clip: Tensor, mask: Mask | None = None) -> Tensor:
        """Patch tokens of clean clips at t = 0: [B, N, D], with a mask [B, V, D].

        Images [B, 3, H, W] are taken as clips of one frame.
        """
        clip = clip[:, :, None] if clip.ndim == 4 else clip
        return self._tokens(clip, torch.zeros(len(clip), dtype=torch.int64, device=clip.device), mask)

    def backbone(self) -> Encoder:
        """A copy of the encoder whose class token is the token of t = 0."""
        part: Encoder = copy.deepcopy(self.encoder)
        t = torch.zeros(1, dtype=torch.int64, device=self.head.weight.device)
        part.cls_token = nn.Parameter(self.timestep(t)[:, None].detach().clone())  # [1, 1, D]
        part._hub_mixin_config = {**part._hub_mixin_config, "class_token": True}
        return part

    def _tokens(self, x: Tensor, t: Tensor, mask: Mask | None = None) -> Tensor:
        rotation = self.encoder.rotation(x, mask, unplaced=1)
        x = self.encoder.embed(x, mask)  # [B, N, D]
        x = torch.cat([self.timestep(t)[:, None].to(x.dtype), x], dim=1)  # [B, 1 + N, D]
        for block in self.encoder.blocks:
            x = block(x, rotation)  # [B, 1 + N, D]
        return self.encoder.norm(x[:, 1:])  # [B, N, D]
