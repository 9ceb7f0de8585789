"""The spacetime ViT encoder: visible patches in, latents out. It sees neither timesteps nor noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffmae_video.errors import InputError
from diffmae_video.masks import Mask
from diffmae_video.models.backbone import Backbone
from diffmae_video.models.block_kinds import norm_layer
from diffmae_video.models.layers import Positions, ViTBlock, initialize_linear
from diffmae_video.models.rotary import Rotation
from diffmae_video.tokens import Triple, gather_tokens, grid_of, patchify

# width, depth, heads (ViT; Dosovitskiy et al. 2021, S: DeiT)
ENCODER_SIZES = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16), "H": (1280, 32, 16)}


class Encoder(Backbone):
    """A ViT over the patches of a clip; an image is a clip of one frame.

    Args:
        image_size: (height, width) of the clips in pixels.
        num_frames: frames of a clip.
        patch: (frames, height, width) of a patch.
        width, depth, heads, mlp_ratio: of the transformer.
        class_token: prepend a learned token; ``forward`` does not return it.
        positions: see :class:`~diffmae_video.models.layers.Positions`.
        drop_path: the last block's rate of stochastic depth; it rises linearly from 0.
        eps: of the layer norms (1e-6 in the MAE family).
        block, qk_norm: see :class:`~diffmae_video.models.layers.ViTBlock`.
        final_norm: False for weights without one; tokens are then the last block's output.

    Raises:
        InputError: sizes that do not fit together, or unknown positions.
    """

    def __init__(
        self,
        image_size: Sequence[int] = (224, 224),
        num_frames: int = 16,
        patch: Sequence[int] = (2, 16, 16),
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        class_token: bool = False,
        positions: str = "sincos",
        drop_path: float = 0.0,
        eps: float = 1e-6,
        final_norm: bool = True,
        block: str = "vit",
        qk_norm: bool = False,
    ) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"encoder width {width} does not divide by {heads} heads")
        self.patch: Triple = (patch[0], patch[1], patch[2])
        self.grid = grid_of((num_frames, image_size[0], image_size[1]), self.patch)
        self.width = width
        self.patch_embed = nn.Linear(3 * patch[0] * patch[1] * patch[2], width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width)) if class_token else None
        self.positions = Positions(positions, self.grid, width, width // heads)
        rates = [drop_path * i / max(1, depth - 1) for i in range(depth)]
        self.block, self.qk_norm = block, qk_norm
        self.blocks = nn.ModuleList(
            ViTBlock(width, heads, mlp_ratio, eps, rate, block, qk_norm) for rate in rates
        )
        self.norm = norm_layer(block, width, eps) if final_norm else nn.Identity()
        self.initialize_weights()

    def initialize_weights(self) -> None:
        self.apply(initialize_linear)
        if self.cls_token is not None:
            nn.init.normal_(self.cls_token, std=0.02)

    @property
    def depth(self) -> int:
        return len(self.blocks)

    @property
    def has_class_token(self) -> bool:
        return self.cls_token is not None

    def no_weight_decay(self) -> set[str]:
        return {"cls_token"}

    def layers(self) -> list[list[nn.Parameter]]:
        """The embedding with positions and class token; then each block."""
        embedding = [*self.patch_embed.parameters(), *self.positions.parameters()]
        if self.cls_token is not None:
            embedding.append(self.cls_token)
        return [embedding, *([*block.parameters()] for block in self.blocks)]

    @classmethod
    def for_pool(cls, pool: str, **arguments: Any) -> Encoder:
        """The mean is taken before any norm, as the classifier has its own; a class token keeps the norm."""
        encoder = cls(**{**arguments, "final_norm": pool == "token"})
        if pool == "token" and not encoder.has_class_token:
            raise InputError("this encoder has no class token to pool by; use pool 'mean'")
        return encoder

    def classifier_arguments(self, drop_path: float) -> dict[str, Any]:
        return {**self._hub_mixin_config, "drop_path": drop_path}

    def tokens_and_class_token(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        clip = clip[:, :, None] if clip.ndim == 4 else clip
        tokens = self.tap(clip, None, [self.depth - 1])[0]  # [B, 1 + N, D]
        return tokens[:, 1:], tokens[:, 0]

    def embed(self, clip: Tensor, mask: Mask | None = None) -> Tensor:
        """A clip [B, 3, T, H, W] to tokens [B, (1 +) V, D]; masked patches are never embedded.

        Raises:
            InputError: the clip does not divide into patches, or the mask has another grid or batch size.
        """
        patches = patchify(clip, self.patch)  # [B, N, P]
        grid = grid_of((clip.shape[2], clip.shape[3], clip.shape[4]), self.patch)
        if mask is None:
            return self.embed_patches(patches, grid, None)
        mask.check_fits(grid, len(clip))
        return self.embed_patches(gather_tokens(patches, mask.visible), grid, mask.visible)

    def embed_patches(self, patches: Tensor, grid: Triple, index: Tensor | None) -> Tensor:
        """Normalised patches [B, V, P] to tokens [B, (1 +) V, D].

        Args:
            grid: of the clip.
            index: where the patches are, [B, V]; None if they are all patches of the clip.
        """
        tokens = self.patch_embed(patches.to(self.patch_embed.weight.dtype))  # [B, V, D]
        tokens = tokens + self.positions(grid, index, tokens.dtype)
        if self.cls_token is not None:
            tokens = torch.cat([self.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        return tokens

    def rotation(self, clip: Tensor, mask: Mask | None, unplaced: int) -> Rotation | None:
        """How attention turns the tokens of a clip and ``unplaced`` ones in front; None if it does not."""
        grid = grid_of((clip.shape[2], clip.shape[3], clip.shape[4]), self.patch)
        if mask is None:
            return self.positions.rotation(grid, None, clip.device, unplaced)
        return self.positions.rotation(grid, mask.visible, clip.device, unplaced, mask.times)

    def tap(self, clip: Tensor, mask: Mask | None, blocks: Sequence[int]) -> list[Tensor]:
        """The outputs [B, (1 +) V, D] of the given blocks, class token included.

        The last block's output goes through the final norm.
        """
        x = self.embed(clip, mask)
        return self._run_blocks(x, self.rotation(clip, mask, int(self.has_class_token)), blocks)

    def tap_patches(self, patches: Tensor, mask: Mask, blocks: Sequence[int]) -> list[Tensor]:
        """:meth:`tap` of the visible patches alone, [B, V, P], normalised."""
        x = self.embed_patches(patches, mask.grid, mask.visible)
        unplaced = int(self.has_class_token)
        rotation = self.positions.rotation(mask.grid, mask.visible, x.device, unplaced, mask.times)
        return self._run_blocks(x, rotation, blocks)

    def _run_blocks(self, x: Tensor, rotation: Rotation | None, blocks: Sequence[int]) -> list[Tensor]:
        tapped: dict[int, Tensor] = {}
        for i, block in enumerate(self.blocks):
            x = block(x, rotation)
            if i in blocks:
                tapped[i] = self.norm(x) if i == self.depth - 1 else x
        return [tapped[i] for i in blocks]

    def forward(self, clip: Tensor, mask: Mask | None = None) -> Tensor:
        """Patch tokens after the final norm: [B, N, D], with a mask [B, V, D]; no class token.

        ``clip`` is a float clip [B, 3, T, H, W]; an image [B, 3, H, W] is taken as one frame.
        """
        if clip.ndim == 4:
            clip = clip[:, :, None]
        tokens = self.tap(clip, mask, [self.depth - 1])[0]
        return tokens if self.cls_token is None else tokens[:, 1:]
