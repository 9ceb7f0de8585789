"""Augmentation for fine-tuning, by torchvision's transforms; all frames of a clip are treated alike."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from diffmae_video.data.transforms import random_resized_crop


class ClipAugmentation:
    """Random resized crop, flip, RandAugment and random erasing, in this order.

    Args:
        size: (height, width) in pixels.
        crop_scale: (least, greatest) share of the frame's area that the crop takes.
        flip: mirror half of the clips.
        rand_augment: (number of operations, magnitude from 0 to 30); 0 operations turn it off.
        erase: probability of filling a rectangle, the same one in all frames, with noise.
    """

    def __init__(
        self,
        size: Sequence[int],
        crop_scale: Sequence[float],
        flip: bool,
        rand_augment: tuple[int, int],
        erase: float,
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
        """Augments a clip, uint8 [T, H, W, 3] -> uint8 [T, h, w, 3], with draws from ``generator`` alone."""
        clip = random_resized_crop(frames, self.size, generator, self.crop_scale)
        if self.flip and bool(torch.rand((), generator=generator) < 0.5):
            clip = clip.flip(2)
        if self.policy is None and self.eraser is None:
            return clip
        # torchvision draws from the global random state, so we seed that here and restore it afterwards.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            video = clip.permute(0, 3, 1, 2)  # [T, 3, h, w]
            video = video if self.policy is None else self.policy(video)
            video = video if self.eraser is None else self._erase(video)
        return video.permute(0, 2, 3, 1).contiguous()

    def _erase(self, video: Tensor) -> Tensor:
        assert self.eraser is not None
        # RandomErasing fills with standard normal noise, so the pixels are roughly normalised first.
        pixels = (video.float() - 127.5) / 64
        erased: Tensor = self.eraser(pixels)
        return (erased * 64 + 127.5).round().clamp(0, 255).to(torch.uint8)


class MixAugmentation:
    """Mixup or CutMix, drawn anew for each batch of clips; targets become soft.

    Args:
        num_classes: number of classes.
        mixup, cutmix: alpha of their beta distributions; 0 turns one off.
        smoothing: label smoothing as in :func:`torch.nn.functional.cross_entropy`; multi-label targets
            are smoothed towards one half (our choice).
    """

    def __init__(self, num_classes: int, mixup: float, cutmix: float, smoothing: float) -> None:
        self.num_classes, self.smoothing = num_classes, smoothing
        self.kinds: list[v2.Transform] = []
        if mixup:
            self.kinds.append(v2.MixUp(alpha=mixup, num_classes=num_classes))
        if cutmix:
            self.kinds.append(v2.CutMix(alpha=cutmix, num_classes=num_classes))

    def __call__(self, clips: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Mixes normalised clips [B, 3, T, H, W]; returns clips and targets, float [B, classes].

        Labels are int64 [B], or float [B, classes] for multi-label clips. CutMix pastes the same
        rectangle into all frames.
        """
        if labels.ndim == 1:
            targets = torch.nn.functional.one_hot(labels, self.num_classes).float()
            uniform = 1 / self.num_classes
        else:
            targets, uniform = labels, 0.5
        if self.kinds:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
                kind = self.kinds[int(torch.randint(len(self.kinds), ()))]
                frames = tv_tensors.Video(clips.transpose(1, 2))  # [B, T, 3, H, W]
                frames, targets = kind(frames, targets)
                clips = frames.as_subclass(Tensor).transpose(1, 2)
        return clips, targets * (1 - self.smoothing) + self.smoothing * uniform
