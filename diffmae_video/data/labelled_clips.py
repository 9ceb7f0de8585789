"""What fine-tuning reads: random clips, augmented, with the labels of their videos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffmae_video.data.augment import ClipAugmentation
from diffmae_video.data.clip_sampler import ClipSampler
from diffmae_video.data.faults import Fault
from diffmae_video.data.lists import Entry
from diffmae_video.data.random_clips import Decoded, RandomClips


class LabelledClips(NamedTuple):
    """What a fine-tuning step takes; a video gives R clips.

    Attributes:
        clips: uint8 [R, T, H, W, 3].
        labels: int64 [R], or float [R, classes] where a video has several.
        faults: the videos that could not be read on the way, and were replaced.
    """

    clips: Tensor
    labels: Tensor
    faults: tuple[Fault, ...] = ()


class LabelledDataset(RandomClips[LabelledClips]):
    """Random clips with the label of the video that they come from, broken ones replaced included.

    Args:
        entries, sampling, repeats, backend, short_side, timeout: see
            :class:`~diffmae_video.data.random_clips.RandomClips`.
        labels: of the entries, see :func:`~diffmae_video.data.classes.label_targets`.
        augment: of each clip, by draws of its own (repeated augmentation).
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        labels: Tensor,
        sampling: ClipSampler,
        augment: ClipAugmentation,
        repeats: int = 1,
        seed: int = 0,
        backend: str = "decord",
        short_side: int = 0,
        timeout: float = 60.0,
    ) -> None:
        super().__init__(entries, sampling, repeats, seed, backend, short_side, timeout)
        self.labels, self.augment = labels, augment

    def sample(self, decoded: Decoded, faults: tuple[Fault, ...]) -> LabelledClips:
        pairs = zip(decoded.clips, decoded.states, strict=True)
        clips = torch.stack([self.augment(frames, state) for frames, state in pairs])
        labels = self.labels[decoded.row].expand(len(clips), *self.labels.shape[1:])
        return LabelledClips(clips, labels, faults)

    @staticmethod
    def collate(samples: Sequence[LabelledClips]) -> LabelledClips:
        """The first clips of all videos, then the second ones: mixing takes neighbours, of two videos."""
        return LabelledClips(
            torch.stack([s.clips for s in samples], 1).flatten(0, 1),
            torch.stack([s.labels for s in samples], 1).flatten(0, 1),
            tuple(fault for s in samples for fault in s.faults),
        )
