"""What the masked autoencoders share: the encoder, the masks that they draw, and pasting back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diffmae_video.masks import Mask
from diffmae_video.models.encoder import Encoder
from diffmae_video.models.pretrained import Pretrained
from diffmae_video.tokens import Triple, gather_tokens, grid_of, patchify, unpatchify

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def pixel_bounds(mean: Sequence[float], std: Sequence[float], device: torch.device) -> tuple[Tensor, Tensor]:
    """Black and white as normalised pixels: float32 [3] each."""
    low, high = (
        torch.tensor([(level - m) / s for m, s in zip(mean, std, strict=True)], device=device)
        for level in (0.0, 1.0)
    )
    return low, high


class Output(NamedTuple):
    """What a training forward returns.

    Attributes:
        loss: scalar, float32.
        prediction: of the masked patches [B, M, P], float32; with ``decoded`` of those [B, K, P]; of a
            model without masks its own whole output.
        mask: the mask that was drawn or given; None of a model without masks.
        decoded: the K masked tokens that were decoded, int64 [B, K]; None for all.
    """

    loss: Tensor
    prediction: Tensor
    mask: Mask | None
    decoded: Tensor | None = None


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


class MaskedAutoencoder(nn.Module, Pretrained):
    """An encoder of visible patches, and what surrounds it; a subclass adds the decoder.

    Args:
        encoder: what sees the visible patches.
        mask: ``kind`` and ``ratio`` of the masks that ``forward`` draws when it is given none.
        mean, std: of the normalisation that clips have gone through, on pixels in [0, 1].
        normalize_target: predict patches normalised by their own mean and variance (MAE); such a
            model cannot render.
    """

    decoder: Any

    def __init__(
        self,
        encoder: Encoder,
        mask: dict[str, Any] | None,
        mean: Sequence[float],
        std: Sequence[float],
        normalize_target: bool,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.mask = mask or {"kind": "random", "ratio": 0.9}
        self.mean, self.std = tuple(mean), tuple(std)
        self.normalize_target = normalize_target

    @property
    def patch(self) -> Triple:
        return self.encoder.patch

    def noise_shape(self, clip: Tensor, mask: Mask) -> tuple[int, ...]:
        """Of the noise for one clip of a batch: (M, P)."""
        return (mask.masked.shape[1], self.decoder.head.out_features)

    def recognition_part(self) -> Encoder:
        """What goes downstream."""
        return self.encoder

    def draw_mask(self, clip: Tensor, generator: torch.Generator | None = None) -> Mask:
        """A mask of the model's own kind and ratio for a clip, on its device."""
        grid = grid_of((clip.shape[2], clip.shape[3], clip.shape[4]), self.patch)
        return Mask.draw(batch=len(clip), grid=grid, generator=generator, device=clip.device, **self.mask)

    def encode(self, clip: Tensor, mask: Mask | None = None) -> Tensor:
        """Patch tokens after the final norm: [B, N, D], with a mask [B, V, D]; no class token."""
        return self.encoder(clip, mask)

    def target(self, clip: Tensor, index: Tensor) -> Tensor:
        """What is to be predicted of tokens [B, K] of a clip: [B, K, P], float32."""
        x0 = gather_tokens(patchify(clip, self.patch), index).float()
        if self.normalize_target:  # over all values of a patch, with n - 1 in the variance (MAE)
            variance, mean = torch.var_mean(x0, dim=-1, keepdim=True)
            x0 = (x0 - mean) / (variance + 1e-6).sqrt()
        return x0

    def inpaint(
        self,
        clip: Tensor,
        mask: Mask,
        sampler: str = "ddim",
        steps: int = 50,
        seed: int = 0,
        return_steps: bool = False,
    ) -> Inpainting:
        """Fills the masked patches of a clip; each model says how."""
        raise TypeError(f"{type(self).__name__} does not inpaint")

    def inpaint_steps(
        self, clip: Tensor, mask: Mask, sampler: str = "ddim", steps: int = 50, seed: int = 0
    ) -> Iterator[tuple[int, Tensor]]:
        """``inpaint`` step by step: each t and its prediction of the masked patches [B, M, P].

        ``paste`` puts them into the clip; the last ones are those of ``inpaint``'s clip.
        """
        raise TypeError(f"{type(self).__name__} does not inpaint")

    def paste(self, clip: Tensor, mask: Mask, fill: Tensor) -> Tensor:
        """The clip with patches [B, M, P] in its masked places; the rest is untouched."""
        patches = patchify(clip, self.patch)
        index = mask.masked[..., None].expand_as(fill)
        return unpatchify(patches.scatter(1, index, fill.to(patches.dtype)), mask.grid, self.patch)
