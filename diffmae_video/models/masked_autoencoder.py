"""What the masked autoencoders share: an encoder of visible patches, the target, and their memory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffmae_video.errors import InputError
from diffmae_video.masks import Mask
from diffmae_video.models.activations import ATTENTION, MLP, Activations, BlockStack
from diffmae_video.models.base import PretrainingModel
from diffmae_video.models.encoder import Encoder
from diffmae_video.tokens import gather_tokens, patchify


class MaskedAutoencoder(PretrainingModel):
    """An encoder that sees the visible patches only; a subclass adds the decoder.

    Args:
        encoder: reads the visible patches.
        mask: ``kind`` and ``ratio`` of the masks.
        mean, std: of the normalisation that clips have gone through, on pixels in [0, 1].
        normalize_target: predict patches normalised by their own mean and variance (MAE); such a
            model cannot render.
    """

    encoder: Encoder
    decoder: Any
    mask: dict[str, Any]

    def __init__(
        self,
        encoder: Encoder,
        mask: dict[str, Any] | None,
        mean: Sequence[float],
        std: Sequence[float],
        normalize_target: bool,
    ) -> None:
        super().__init__(encoder, mean, std)
        self.mask = mask or {"kind": "random", "ratio": 0.9}
        self.normalize_target = normalize_target

    def target(self, clip: Tensor, index: Tensor) -> Tensor:
        """What is to be predicted for tokens [B, K] of a clip: [B, K, P], float32."""
        x0 = gather_tokens(patchify(clip, self.patch), index).float()
        if self.normalize_target:  # over all values of a patch, with n - 1 in the variance (MAE)
            variance, mean = torch.var_mean(x0, dim=-1, keepdim=True)
            x0 = (x0 - mean) / (variance + 1e-6).sqrt()
        return x0

    def check_inpainter(self) -> None:
        if self.normalize_target:
            raise InputError(
                "this model predicts patches normalised one by one, which cannot be rendered; give one that "
                "was trained with MODEL.NORM_TARGET False"
            )

    def activations(self, mask: Mask | None) -> Activations:
        assert mask is not None
        visible = mask.visible.shape[1]
        encoder, patch = self.encoder, self.decoder.head.out_features
        seen = visible + encoder.has_class_token
        blocks = BlockStack(seen, encoder.width, encoder.depth, ATTENTION + MLP)
        values = visible * patch + seen * encoder.width  # the embedding's input, and the final norm
        decoded = self.decoder_activations(mask)
        return Activations([blocks, *decoded.stacks], values + decoded.values, decoded.outputs)

    @abstractmethod
    def decoder_activations(self, mask: Mask) -> Activations:
        """The decoder's part of :meth:`activations`."""
