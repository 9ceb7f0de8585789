"""ADM (Dhariwal & Nichol 2021, arXiv 2105.05233): a U-Net that denoises pictures.

The blocks are those of :class:`diffusers.UNet2DModel`, configured as in ADM: the timestep scales and shifts
the norms, residual blocks change the resolution, and attention has heads of 64 channels at given resolutions.
The U-Net is split into an encoder (the downsampling path and the middle), which recognition uses, and a
decoder (the upsampling path). Unlike ADM, it predicts the noise only and learns no variances.

Timesteps start at 1, as everywhere in this package; in diffusers they start at 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffmae_video.errors import InputError, require
from diffmae_video.models.backbone import Backbone, check_pictures, pictures_of
from diffmae_video.models.denoising import DenoisingModel
from diffmae_video.models.pixels import IMAGENET_MEAN, IMAGENET_STD
from diffmae_video.tokens import Triple, grid_of

CLEAN = 1  # the timestep of a clean picture: the lowest one in training


class UNetEncoder(Backbone):
    """The downsampling path and the middle of ADM's U-Net. A block is a residual block and its attention.

    Args:
        image_size: (height, width) of the pictures in pixels.
        num_frames: must be 1.
        patch: of the masks for inpainting; the network itself has no patches.
        width: channels of the first level.
        multipliers: each level's channels, as multiples of ``width``.
        resnets: residual blocks of each level.
        attention: the heights, in pixels, of the levels that have attention.
        head_width: channels of an attention head.
        dropout: in the residual blocks.

    Raises:
        InputError: more than one frame, or sizes that do not fit together.
        MissingExtraError: diffusers is not installed.
    """

    def __init__(
        self,
        image_size: Sequence[int] = (256, 256),
        num_frames: int = 1,
        patch: Sequence[int] = (1, 16, 16),
        width: int = 256,
        multipliers: Sequence[int] = (1, 1, 2, 2, 4, 4),
        resnets: int = 2,
        attention: Sequence[int] = (32, 16, 8),
        head_width: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_pictures("adm", num_frames)
        self.patch: Triple = (patch[0], patch[1], patch[2])
        self.grid = grid_of((num_frames, image_size[0], image_size[1]), self.patch)
        unet = _unet(image_size, width, multipliers, resnets, attention, head_width, dropout)
        self.width = width * multipliers[-1]
        self.conv_in, self.time_proj, self.time_embedding = unet.conv_in, unet.time_proj, unet.time_embedding
        self.down_blocks, self.mid_block = unet.down_blocks, unet.mid_block

    @property
    def blocks(self) -> list[nn.Module]:
        """The modules whose activations can be checkpointed."""
        return [module for block in self._blocks() for module in block]

    def _blocks(self) -> list[list[nn.Module]]:
        blocks: list[list[nn.Module]] = []
        for level in self.down_blocks:
            attentions = getattr(level, "attentions", None) or [None] * len(level.resnets)
            for pair in zip(level.resnets, attentions, strict=True):
                blocks.append([module for module in pair if module is not None])
            blocks += [[module] for module in level.downsamplers or ()]
        first, last = self.mid_block.resnets
        return [*blocks, [first, *self.mid_block.attentions], [last]]

    def layers(self) -> list[list[nn.Parameter]]:
        """The first convolution with the timestep's embedding, then each block and downsampling layer."""
        embedding = [*self.conv_in.parameters(), *self.time_embedding.parameters()]
        blocks = [[p for module in block for p in module.parameters()] for block in self._blocks()]
        return [embedding, *blocks]

    def resized(self, image_size: Sequence[int] | None, num_frames: int | None) -> UNetEncoder:
        """This encoder for pictures of another size; the same levels keep their attention."""
        own = self._hub_mixin_config
        if image_size is None or list(image_size) == list(own["image_size"]):
            check_pictures("adm", num_frames or 1)
            return self
        attends = [hasattr(level, "attentions") for level in self.down_blocks]
        heights = [image_size[0] // 2**i for i, has in enumerate(attends) if has]
        changed = {"image_size": list(image_size), "num_frames": num_frames or 1, "attention": heights}
        other = UNetEncoder(**{**own, **changed})
        other.load_state_dict(self.state_dict())
        return other.train(self.training)

    def down(self, pictures: Tensor, t: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Encodes pictures [B, 3, H, W] at t int64 [B].

        Returns:
            The output of the middle [B, D, h, w], the skip connections, finest first, and the timestep's
            embedding [B, E].
        """
        dtype = self.conv_in.weight.dtype
        embedded = self.time_embedding(self.time_proj(t - 1).to(dtype))
        x = self.conv_in(pictures.to(dtype))
        skips = [x]
        for level in self.down_blocks:
            x, outputs = level(x, embedded)
            skips += outputs
        return self.mid_block(x, embedded), skips, embedded

    def forward(self, clip: Tensor, t: Tensor | None = None) -> Tensor:
        """Pictures [B, 3, (1,) H, W] at t int64 [B], by default 1, to the middle's tokens [B, h * w, D]."""
        pictures = pictures_of(clip)
        if t is None:
            t = torch.full((len(pictures),), CLEAN, dtype=torch.int64, device=pictures.device)
        middle: Tensor = self.down(pictures, t)[0]
        return middle.flatten(2).transpose(1, 2)


class UNetDecoder(nn.Module):
    """The upsampling path, with skip connections."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.up_blocks = unet.up_blocks
        self.conv_norm_out, self.conv_act, self.conv_out = unet.conv_norm_out, unet.conv_act, unet.conv_out

    @property
    def blocks(self) -> list[nn.Module]:
        levels = self.up_blocks
        return [m for level in levels for m in (*level.resnets, *(getattr(level, "attentions", None) or ()))]

    def forward(self, x: Tensor, skips: list[Tensor], embedded: Tensor) -> Tensor:
        """Turns the output of :meth:`UNetEncoder.down` into pictures [B, 3, H, W]."""
        for level in self.up_blocks:
            count = len(level.resnets)
            skips, joined = skips[:-count], tuple(skips[-count:])
            x = level(x, joined, embedded)
        return self.conv_out(self.conv_act(self.conv_norm_out(x)))


class ADM(DenoisingModel):
    """ADM's U-Net.

    Args:
        image_size, num_frames, patch: see :class:`UNetEncoder`, also for errors.
        encoder: further arguments of :class:`UNetEncoder`.
        schedule, prediction, mean, std: see :class:`~diffmae_video.models.denoising.DenoisingModel`.
    """

    encoder: UNetEncoder

    def __init__(
        self,
        image_size: Sequence[int] = (256, 256),
        num_frames: int = 1,
        patch: Sequence[int] = (1, 16, 16),
        encoder: dict[str, Any] | None = None,
        schedule: dict[str, Any] | None = None,
        prediction: str = "eps",
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        part = UNetEncoder(image_size, num_frames, patch, **(encoder or {}))
        super().__init__(part, schedule, prediction, mean, std)
        arguments = {"width": 256, "multipliers": (1, 1, 2, 2, 4, 4), **(encoder or {})}
        self.decoder = UNetDecoder(_unet(image_size, **arguments))

    def network(self, xt: Tensor, t: Tensor) -> Tensor:
        return self.decoder(*self.encoder.down(pictures_of(xt), t)).float()[:, :, None]


def _unet(
    image_size: Sequence[int],
    width: int,
    multipliers: Sequence[int],
    resnets: int = 2,
    attention: Sequence[int] = (32, 16, 8),
    head_width: int = 64,
    dropout: float = 0.0,
) -> Any:
    """diffusers' U-Net in ADM's shape.

    Raises:
        InputError: sizes that do not fit together.
    """
    if width % 32:
        raise InputError(f"adm: the width must be a multiple of 32, for its groups of channels; got {width}")
    if any(side % 2 ** (len(multipliers) - 1) for side in image_size):
        raise InputError(
            f"adm: {image_size[0]} x {image_size[1]} pixels cannot be halved {len(multipliers) - 1} times; "
            "give another DATA.SIZE or fewer MODEL.ADM.MULTIPLIERS"
        )
    attends = [image_size[0] // 2**i in attention for i in range(len(multipliers))]
    narrow = [
        width * m for m, has in zip(multipliers, attends, strict=True) if has and (width * m) % head_width
    ]
    if narrow or width * multipliers[-1] % head_width:
        raise InputError(
            f"adm: the last level and levels with attention need a multiple of {head_width} channels, the "
            f"width of a head; the levels have {[width * m for m in multipliers]}"
        )
    down = ["AttnDownBlock2D" if has else "ResnetDownsampleBlock2D" for has in attends]
    up = ["AttnUpBlock2D" if has else "ResnetUpsampleBlock2D" for has in reversed(attends)]
    unet = require("diffusers", "compare").UNet2DModel(
        sample_size=tuple(image_size),
        block_out_channels=tuple(width * m for m in multipliers),
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        layers_per_block=resnets,
        downsample_type="resnet",
        upsample_type="resnet",
        resnet_time_scale_shift="scale_shift",
        attention_head_dim=head_width,
        dropout=dropout,
    )
    # As in ADM, residual branches and the output are zero at first.
    for name, module in unet.named_modules():
        if name.endswith(("conv2", "to_out.0", "conv_out")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return unet
