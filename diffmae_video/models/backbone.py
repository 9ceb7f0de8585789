"""What a classifier stands on: the part of a pre-trained model that goes downstream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from diffmae_video.errors import InputError
from diffmae_video.models.pretrained import Pretrained
from diffmae_video.tokens import Triple


class Backbone(nn.Module, Pretrained):
    """A clip [B, 3, T, H, W] to tokens [B, N, D], in layers that can be told apart.

    An image [B, 3, H, W] is taken as a clip of one frame.

    Attributes:
        width: D.
        patch: (frames, height, width) of what masks are counted in.
        grid: such patches of a clip (t, h, w).
    """

    width: int
    patch: Triple
    grid: Triple

    def layers(self) -> list[list[nn.Parameter]]:
        """The parameters by depth: the embedding first, then the blocks. What comes after them is in none."""
        raise NotImplementedError

    @property
    def depth(self) -> int:
        """The number of blocks."""
        return len(self.layers()) - 1

    def classifier_arguments(self, drop_path: float) -> dict[str, Any]:
        """The arguments of a backbone like this one, as a classifier wants it.

        Raises:
            InputError: it has no stochastic depth.
        """
        if drop_path:
            raise InputError(
                f"{type(self).__name__} has no stochastic depth; set FINETUNE.DROP_PATH 0, not {drop_path}"
            )
        return dict(self._hub_mixin_config)

    def tokens_and_features(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """Patch tokens [B, N, D] of a clip, and their mean [B, D], as a classifier's method of this name."""
        tokens = self(clip)
        return tokens, tokens.mean(1)

    def recognition_part(self) -> Backbone:
        """The backbone itself; other models have it inside."""
        return self

    def fitted(self, image_size: Sequence[int] | None, num_frames: int | None) -> Backbone:
        """This one for clips of another size; None leaves it.

        Raises:
            InputError: it is for its own size alone.
        """
        t, h, w = (count * side for count, side in zip(self.grid, self.patch, strict=True))
        if (num_frames or t, *(image_size or (h, w))) != (t, h, w):
            raise InputError(
                f"{type(self).__name__} takes pictures of the {h} x {w} pixels that it was trained on alone; "
                f"set DATA.SIZE [{h}, {w}] and DATA.NUM_FRAMES {t}"
            )
        return self


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
