"""The contract of backbones: the part of a pre-trained model that recognition is built on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from diffmae_video.errors import InputError
from diffmae_video.models.pretrained import Pretrained
from diffmae_video.tokens import Triple


class Backbone(nn.Module, Pretrained, ABC):
    """Turns a clip [B, 3, T, H, W] into tokens [B, N, D] by a stack of layers.

    An image [B, 3, H, W] is taken as a clip of one frame.
    """

    width: int  # D
    patch: Triple  # (frames, height, width) of the patches that masks are made of
    grid: Triple  # the patches (t, h, w) of a clip
    # the layer that tokens are read from, for a backbone that can read any (see set_feature_layer);
    # None for one that reads the last
    feature_layer: int | None = None
    # whether prepare has to see training pixels before the first step
    reads_pixels_first: ClassVar[bool] = False

    # --- what every backbone has ----------------------------------------------------------------

    @abstractmethod
    def layers(self) -> list[list[nn.Parameter]]:
        """The parameters by depth: the embedding first, then the blocks. A final norm is in none."""

    @property
    def depth(self) -> int:
        """The number of blocks."""
        return len(self.layers()) - 1

    def backbone(self) -> Backbone:
        """Itself, so that a backbone can be asked like a classifier or a pre-training model."""
        return self

    def encode(self, clip: Tensor) -> Tensor:
        """Tokens [B, N, D] of a clean clip."""
        return self(clip)

    def tokens_and_features(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [B, N, D], and their mean [B, D] as the features of the clip."""
        tokens = self.encode(clip)
        return tokens, tokens.mean(1)

    def resized(self, image_size: Sequence[int] | None, num_frames: int | None) -> Backbone:
        """This backbone for clips of another size; None keeps a side.

        Raises:
            InputError: the backbone works at its own size only.
        """
        t, h, w = (count * side for count, side in zip(self.grid, self.patch, strict=True))
        if (num_frames or t, *(image_size or (h, w))) != (t, h, w):
            raise InputError(
                f"{type(self).__name__} takes only pictures of the {h} x {w} pixels that it was trained on; "
                f"set DATA.SIZE [{h}, {w}] and DATA.NUM_FRAMES {t}"
            )
        return self

    # --- as part of a classifier ----------------------------------------------------------------

    @classmethod
    def for_pool(cls, pool: str, **arguments: Any) -> Backbone:
        """A fresh backbone whose tokens a classifier pools by ``mean`` or by class ``token``.

        Raises:
            InputError: the backbone has no class token.
        """
        if pool == "token":
            raise InputError(f"{cls.__name__} has no class token to pool by; use pool 'mean'")
        return cls(**arguments)

    def classifier_arguments(self, drop_path: float) -> dict[str, Any]:
        """The constructor's arguments for a classifier on this backbone.

        Args:
            drop_path: rate of stochastic depth.

        Raises:
            InputError: the backbone has no stochastic depth.
        """
        if drop_path:
            raise InputError(
                f"{type(self).__name__} has no stochastic depth; set FINETUNE.DROP_PATH 0, not {drop_path}"
            )
        return dict(self._hub_mixin_config)

    def tokens_and_class_token(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """Patch tokens [B, N, D] and the class token [B, D]; only after :meth:`for_pool` with ``token``."""
        raise InputError(f"{type(self).__name__} has no class token")

    def set_generative(self, is_on: bool) -> None:
        """Allows the generative loss of :meth:`tokens_and_loss` in fine-tuning, or freezes its head.

        Raises:
            InputError: it is switched on, and the backbone has none.
        """
        if is_on:
            raise InputError(
                f"FINETUNE.GENERATIVE: {type(self).__name__} has no generative loss, as igpt has; set it to 0"
            )

    def tokens_and_loss(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [B, N, D] and the backbone's own generative loss, in one pass."""
        raise InputError(f"{type(self).__name__} has no generative loss")

    # --- choosing a layer -----------------------------------------------------------------------

    def set_feature_layer(self, layer: int) -> None:
        """Reads tokens from another layer: 1 to depth, or 0 for the backbone's default.

        Raises:
            InputError: there is no such layer, or the backbone reads its last layer only.
        """
        if layer:
            raise InputError(f"MODEL.IGPT.LAYER: {type(self).__name__} reads its last layer; set it to 0")

    def layer_features(self, clip: Tensor) -> Tensor:
        """The mean token of every layer that tokens can be read from: [B, depth, D]."""
        raise InputError(f"{type(self).__name__} reads its last layer only")

    # --- before training ------------------------------------------------------------------------

    def prepare(self, pixels: Tensor, seed: int) -> None:
        """Sets the buffers that depend on the training data; see ``reads_pixels_first``.

        Args:
            pixels: uint8 [n, 3], from pictures spread over the training list.

        Raises:
            InputError: the pixels do not suffice.
        """


def pictures_of(clip: Tensor) -> Tensor:
    """Clips of one frame [B, 3, 1, H, W], or images as they are, to images [B, 3, H, W]."""
    return clip if clip.ndim == 4 else clip[:, :, 0]


def check_pictures(objective: str, num_frames: int) -> None:
    """Refuses clips.

    Raises:
        InputError: there is more than one frame.
    """
    if num_frames != 1:
        raise InputError(
            f"{objective} is for pictures: set DATA.NUM_FRAMES 1, not {num_frames}; for clips there are "
            "diffmae, mae and ddpm"
        )
