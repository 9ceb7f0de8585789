"""What the masked autoencoders share: an encoder of visible patches, the target, and their memory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from diffmae_video.errors import InputError
from diffmae_video.masks import Mask
from diffmae_video.models.activations import ATTENTION, MLP, Activations, BlockStack
from diffmae_video.models.base import PretrainingModel
from diffmae_video.models.encoder import Encoder
from diffmae_video.tokens import gather_tokens, grid_of, patchify


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
    reads_raw_pixels: ClassVar[bool] = True

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

    def split(self, clip: Tensor, mask: Mask) -> tuple[Tensor, Tensor]:
        """The visible patches [B, V, P] and the masked ones [B, M, P] of a clip, normalised.

        A clip as it was decoded, in uint8, is cut into patches before it is normalised: that moves a quarter
        of the bytes.

        Raises:
            InputError: the clip does not divide into patches, or the mask has another grid or batch size.
        """
        patches = patchify(clip, self.patch)  # [B, N, P]
        mask.check_fits(grid_of((clip.shape[2], clip.shape[3], clip.shape[4]), self.patch), len(clip))
        visible, masked = gather_tokens(patches, mask.visible), gather_tokens(patches, mask.masked)
        if clip.dtype == torch.uint8:
            return self.normalisation(visible), self.normalisation(masked)
        return visible, masked

    def target(self, patches: Tensor) -> Tensor:
        """What is to be predicted for normalised patches [B, K, P]: float32, of the same shape."""
        x0 = patches.float()
        if self.normalize_target:  # over all values of a patch, with n - 1 in the variance (MAE)
            variance, mean = torch.var_mean(x0, dim=-1, keepdim=True)
            x0 = (x0 - mean) / (variance + 1e-6).sqrt()
        return x0

    def predict_zero(self) -> None:
        """Makes an untrained model predict 0 everywhere, for a target that is a correction."""
        nn.init.zeros_(self.decoder.head.weight)
        nn.init.zeros_(self.decoder.head.bias)

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
