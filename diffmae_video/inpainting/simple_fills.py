"""Fills that need no model: the baselines that an inpainting model has to beat. Our choice."""

import torch
from torch import Tensor

from diffmae_video.masks import Mask
from diffmae_video.tokens import Triple, patchify, unpatchify


def grey_fill(clip: Tensor, masked: Tensor) -> Tensor:
    """Paints masked pixels grey, which is how a masked clip is shown.

    Args:
        clip: [B, 3, T, H, W], pixels in [0, 1].
        masked: bool [B, 1, T, H, W].
    """
    return torch.where(masked, 0.5, clip)


def mean_fill(clip: Tensor, masked: Tensor) -> Tensor:
    """Fills with the mean of the clip's visible pixels, channel by channel.

    Args:
        clip: [B, 3, T, H, W].
        masked: bool [B, 1, T, H, W].
    """
    visible = ~masked
    mean = (clip * visible).sum((2, 3, 4), keepdim=True) / visible.sum((2, 3, 4), keepdim=True)
    return torch.where(masked, mean, clip)


def nearest_fill(clip: Tensor, mask: Mask, patch: Triple) -> Tensor:
    """Fills each masked patch with a copy of the nearest visible patch.

    Distance is Euclidean on the grid (t, row, column); of several nearest patches the first one is taken.

    Args:
        clip: [B, 3, T, H, W].
        mask: of the B clips.
        patch: (frames, height, width) of a patch.
    """
    t, h, w = mask.grid
    index = torch.arange(t * h * w, device=clip.device)
    places = torch.stack([index // (h * w), index // w % h, index % w], dim=1).float()  # [N, 3]
    distance = torch.cdist(places[mask.masked], places[mask.visible])  # [B, M, V]
    source = mask.visible.gather(1, distance.argmin(2))  # [B, M]
    patches = patchify(clip, patch)
    width = patches.shape[-1]
    copied = patches.gather(1, source[..., None].expand(-1, -1, width))
    return unpatchify(
        patches.scatter(1, mask.masked[..., None].expand(-1, -1, width), copied), mask.grid, patch
    )


def interpolated_fill(clip: Tensor, masked: Tensor) -> Tensor:
    """Fills each masked pixel linearly in time, between the nearest frames in which it is visible.

    If it is visible on one side in time only, that value is repeated; if it is never visible, it gets the
    mean fill.

    Args:
        clip: [B, 3, T, H, W].
        masked: bool [B, 1, T, H, W].
    """
    frames = clip.shape[2]
    time = torch.arange(frames, device=clip.device).view(-1, 1, 1)
    before = torch.where(masked, -1, time).cummax(2).values  # -1 if never
    after = torch.where(masked, frames, time).flip(2).cummin(2).values.flip(2)  # frames if never
    left, right = torch.where(before < 0, after, before), torch.where(after == frames, before, after)
    never = left == frames
    share = (time - left) / (right - left).clamp_min(1)  # 0 if both are the same frame
    first, second = (
        clip.gather(2, place.masked_fill(never, 0).clamp(0, frames - 1).expand_as(clip))
        for place in (left, right)
    )
    filled = first + share * (second - first)
    return torch.where(masked, torch.where(never, mean_fill(clip, masked), filled), clip)
