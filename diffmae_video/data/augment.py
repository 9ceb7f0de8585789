"""Augmentation for fine-tuning: torchvision's transforms on uint8, one draw for all frames of a clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from diffmae_video.data.transforms import random_resized_crop


class ClipAugmentation:
    """Random resized crop, flip, RandAugment and random erasing, in this order.

    All draws of a clip come from one generator: the same generator gives the same clip.

    Args:
        size: (height, width) in pixels.
        crop_scale: bounds of the crop's share of the frame.
        flip: mirror half of the clips.
        rand_augment: (operations, magnitude of 30); no operations leave it out.
        erase: probability of erasing a rectangle, the same one in all frames, with noise.
    """

    def __init__(
        self,
        size: Sequence[int],
        crop_scale: Sequence[float] = (0.08, 1.0),
        flip: bool = True,
        rand_augment: tuple[int, int] = (0, 0),
        erase: float = 0.0,
    ) -> None:
        self.size, self.crop_scale, self.flip = tuple(size), crop_scale, flip
        operations, magnitude = rand_augment
        self.policy = (
            v2.RandAugment(operations, magnitude, interpolation=v2.InterpolationMode.BILINEAR)
            if operations
            else None
        )
        self.eraser = v2.RandomErasing(erase, value="random") if erase else None

    def __call__(self, frames: np.ndarray, generator: torch.Generator) -> Tensor:
        """uint8 [T, H, W, 3] -> uint8 [T, h, w, 3]."""
        clip = random_resized_crop(frames, self.size, generator, self.crop_scale)
        if self.flip and bool(torch.rand((), generator=generator) < 0.5):
            clip = clip.flip(2)
        if self.policy is None and self.eraser is None:
            return clip
        # torchvision draws from the global state alone: it is set from ours, and then put back.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            video = clip.permute(0, 3, 1, 2)  # [T, 3, h, w]
            video = video if self.policy is None else self.policy(video)
            video = video if self.eraser is None else self._erase(video)
        return video.permute(0, 2, 3, 1).contiguous()

    def _erase(self, video: Tensor) -> Tensor:
        assert self.eraser is not None
        # it fills with standard normal values, made for normalised pixels: so through float
        pixels = (video.float() - 127.5) / 64
        erased: Tensor = self.eraser(pixels)
        return (erased * 64 + 127.5).round().clamp(0, 255).to(torch.uint8)


class MixAugmentation:
    """Mixup or CutMix over a batch of clips, one of them drawn for each batch; targets become soft.

    Args:
        num_classes: of the targets.
        mixup, cutmix: alpha of their beta distributions; 0 leaves one out.
        smoothing: of the labels, as :func:`torch.nn.functional.cross_entropy` smooths them; where each
            class is a yes or no of its own, towards a half (our choice).
    """

    def __init__(
        self, num_classes: int, mixup: float = 0.8, cutmix: float = 1.0, smoothing: float = 0.1
    ) -> None:
        self.num_classes, self.smoothing = num_classes, smoothing
        self.kinds: list[v2.Transform] = []
        if mixup:
            self.kinds.append(v2.MixUp(alpha=mixup, num_classes=num_classes))
        if cutmix:
            self.kinds.append(v2.CutMix(alpha=cutmix, num_classes=num_classes))

    def __call__(self, clips: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Normalised clips [B, 3, T, H, W] and labels -> clips, and targets float [B, classes].

        Labels are int64 [B], or float [B, classes] where a clip has several. The rectangle of CutMix
        is the same in all frames.
        """
        if labels.ndim == 1:
            targets = torch.nn.functional.one_hot(labels, self.num_classes).float()
            evenly = 1 / self.num_classes
        else:
            targets, evenly = labels, 0.5
        if self.kinds:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
                kind = self.kinds[int(torch.randint(len(self.kinds), ()))]
                frames = tv_tensors.Video(clips.transpose(1, 2))  # [B, T, 3, H, W]
                frames, targets = kind(frames, targets)
                clips = frames.as_subclass(Tensor).transpose(1, 2)
        return clips, targets * (1 - self.smoothing) + self.smoothing * evenly
