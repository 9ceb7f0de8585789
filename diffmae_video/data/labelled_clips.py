"""Fine-tuning data: augmented random clips with the labels of their videos."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import Unpack

from diffmae_video.data.augment import ClipAugmentation
from diffmae_video.data.clip_sampler import ClipSampler
from diffmae_video.data.faults import Fault
from diffmae_video.data.lists import Entry
from diffmae_video.data.random_clips import DecodedClips, RandomClips, Reading, SampleKey


class LabelledClips(NamedTuple):
    """A sample, or a batch, of fine-tuning data; each video gives R clips."""

    clips: Tensor  # uint8 [R, T, H, W, 3]
    labels: Tensor  # int64 [R], or float [R, classes] for multi-label lists
    samples: tuple[SampleKey, ...]  # the key of each video's sample
    faults: tuple[Fault, ...]  # the unreadable videos that were replaced


class LabelledDataset(RandomClips[LabelledClips]):
    """Augmented random clips with labels; a clip that replaces an unreadable video has its own label.

    Args:
        entries, clip_sampler, reading: see :class:`~diffmae_video.data.random_clips.RandomClips`.
        labels: one row per entry, see :func:`~diffmae_video.data.classes.label_targets`.
        augment: applied to each clip with draws of its own (repeated augmentation).
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        labels: Tensor,
        clip_sampler: ClipSampler,
        augment: ClipAugmentation,
        **reading: Unpack[Reading],
    ) -> None:
        super().__init__(entries, clip_sampler, **reading)
        self.labels, self.augment = labels, augment

    def sample(self, key: SampleKey, decoded: DecodedClips, faults: tuple[Fault, ...]) -> LabelledClips:
        pairs = zip(decoded.clips, decoded.generators, strict=True)
        clips = torch.stack([self.augment(frames, generator) for frames, generator in pairs])
        labels = self.labels[decoded.row].expand(len(clips), *self.labels.shape[1:])
        return LabelledClips(clips, labels, (key,), faults)

    @staticmethod
    def collate(samples: Sequence[LabelledClips]) -> LabelledClips:
        """Orders clips by repeat, then by video, so that mixup's neighbours are two different videos."""
        return LabelledClips(
            torch.stack([s.clips for s in samples], 1).flatten(0, 1),
            torch.stack([s.labels for s in samples], 1).flatten(0, 1),
            tuple(key for s in samples for key in s.samples),
            tuple(fault for s in samples for fault in s.faults),
        )
