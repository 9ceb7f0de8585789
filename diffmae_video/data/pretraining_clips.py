"""What pre-training reads: random clips with their masks and timesteps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffmae_video.data.clip_sampler import ClipSampler
from diffmae_video.data.faults import Fault
from diffmae_video.data.lists import Entry
from diffmae_video.data.random_clips import Decoded, RandomClips
from diffmae_video.data.transforms import Crop, draw_crop, resized_crop
from diffmae_video.masks import Mask
from diffmae_video.tokens import Triple


class RawClip(NamedTuple):
    """A clip as decoded, and what is still to be done to it.

    Attributes:
        frames: uint8 [T, H, W, 3].
        crop: the part that is resized.
        flip: whether it is mirrored then.
    """

    frames: Tensor
    crop: Crop
    flip: bool

    def finished(self, size: Sequence[int], device: torch.device) -> Tensor:
        """Cropped, resized and mirrored on a device: uint8 [T, h, w, 3]."""
        clip = resized_crop(self.frames.to(device, non_blocking=True), self.crop, size)
        return clip.flip(2) if self.flip else clip


def clips_on(clips: Tensor | list[RawClip], size: Sequence[int], device: torch.device) -> Tensor:
    """The clips of a batch on the training device, cropped there if the loader left that: uint8."""
    if isinstance(clips, Tensor):
        return clips.to(device, non_blocking=True)
    return torch.stack([RawClip(*clip).finished(size, device) for clip in clips])


class TrainingClips(NamedTuple):
    """What a training step takes; a video gives R clips.

    Attributes:
        clips: uint8 [R, T, H, W, 3], or R :class:`RawClip` that the training device will crop.
        mask: of R clips.
        t: int64 [R], timesteps in 1..T.
        faults: the videos that could not be read on the way, and were replaced.
    """

    clips: Tensor | list[RawClip]
    mask: Mask
    t: Tensor
    faults: tuple[Fault, ...] = ()


class ClipDataset(RandomClips[TrainingClips]):
    """Random clips with their masks and timesteps, for pre-training.

    Args:
        entries, repeats, backend, short_side, timeout: see
            :class:`~diffmae_video.data.random_clips.RandomClips`.
        num_frames, stride, fps: of a clip, see :class:`~diffmae_video.data.clip_sampler.ClipSampler`.
        size: (height, width) in pixels.
        patch: (frames, height, width) of a patch.
        mask: ``kind`` and ``ratio``.
        timesteps: T of the schedule.
        crop_scale: bounds of the random crop's share of the frame.
        flip: mirror half of the clips.
        crop_on_device: leave crop, resize and flip to :func:`clips_on`.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        num_frames: int,
        stride: int,
        size: Sequence[int],
        repeats: int,
        patch: Triple,
        mask: dict[str, object],
        timesteps: int,
        crop_scale: Sequence[float] = (0.5, 1.0),
        flip: bool = True,
        seed: int = 0,
        backend: str = "decord",
        fps: float = 0.0,
        short_side: int = 0,
        timeout: float = 60.0,
        crop_on_device: bool = False,
    ) -> None:
        sampling = ClipSampler(num_frames, stride, fps)
        super().__init__(entries, sampling, repeats, seed, backend, short_side, timeout)
        self.size, self.mask, self.timesteps = tuple(size), mask, timesteps
        self.crop_scale, self.flip, self.crop_on_device = crop_scale, flip, crop_on_device
        self.grid: Triple = (num_frames // patch[0], self.size[0] // patch[1], self.size[1] // patch[2])

    def sample(self, decoded: Decoded, faults: tuple[Fault, ...]) -> TrainingClips:
        clips, masks, ts = [], [], []
        for frames, state in zip(decoded.clips, decoded.states, strict=True):
            crop = draw_crop((frames.shape[1], frames.shape[2]), self.size, state, self.crop_scale)
            flip = bool(torch.rand((), generator=state) < 0.5) and self.flip
            clips.append(RawClip(torch.from_numpy(frames), crop, flip))
            masks.append(Mask.draw(batch=1, grid=self.grid, generator=state, **self.mask))  # type: ignore[arg-type]
            ts.append(torch.randint(1, self.timesteps + 1, (1,), generator=state))
        if self.crop_on_device:
            return TrainingClips(clips, Mask.cat(masks), torch.cat(ts), faults)
        finished = [clip.finished(self.size, torch.device("cpu")) for clip in clips]
        return TrainingClips(torch.stack(finished), Mask.cat(masks), torch.cat(ts), faults)

    @staticmethod
    def collate(samples: Sequence[TrainingClips]) -> TrainingClips:
        clips = [s.clips for s in samples]
        whole = [c for c in clips if isinstance(c, Tensor)]
        raw = [clip for c in clips if not isinstance(c, Tensor) for clip in c]
        return TrainingClips(
            torch.cat(whole) if whole else raw,
            Mask.cat([s.mask for s in samples]),
            torch.cat([s.t for s in samples]),
            tuple(fault for s in samples for fault in s.faults),
        )
