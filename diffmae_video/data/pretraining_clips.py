"""Pre-training data: random clips with their masks and timesteps."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torchvision.transforms.v2.functional as F
from torch import Tensor
from typing_extensions import Unpack

from diffmae_video.data.clip_sampler import ClipSampler
from diffmae_video.data.faults import Fault
from diffmae_video.data.lists import Entry
from diffmae_video.data.mask_mix import MaskMix
from diffmae_video.data.random_clips import DecodedClips, RandomClips, Reading, SampleKey
from diffmae_video.data.transforms import Crop, draw_crop, resized_crop
from diffmae_video.decoding import VideoReader
from diffmae_video.diffusion import NoiseSchedule
from diffmae_video.masks import Mask
from diffmae_video.randomness import random_state
from diffmae_video.tokens import Triple, grid_of

OF_MASKS = 2**32 - 2  # marks the random states of mixed masks; those of clips have the video's index here


class EncodedFrames(NamedTuple):
    """Frames that are still to be decoded, see :mod:`~diffmae_video.data.device_decoding`."""

    data: Tensor  # uint8 [bytes], the video file; clips of one video share it
    path: str
    num_frames: int  # of the video
    height: int  # of a frame, in pixels
    width: int
    indices: list[int]  # of the T frames


ADJUSTMENTS = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)  # of torchvision, in this order
SAME_COLOURS = (1.0, 1.0, 1.0)


class RawClip(NamedTuple):
    """A clip with the crop, the flip and the change of its colours that are still to be applied."""

    frames: Tensor | EncodedFrames  # decoded: uint8 [T, H, W, 3]
    crop: Crop  # the part of the frame that is resized
    flip: bool  # whether the result is mirrored
    colours: tuple[float, float, float] = SAME_COLOURS  # factors of brightness, contrast and saturation

    def finished(self, size: Sequence[int], device: torch.device) -> Tensor:
        """Crops, resizes, mirrors and recolours the clip on a device: uint8 [T, h, w, 3]."""
        assert isinstance(self.frames, Tensor)
        clip = resized_crop(self.frames.to(device, non_blocking=True), self.crop, size)
        clip = clip.flip(2) if self.flip else clip
        if self.colours == SAME_COLOURS:
            return clip
        clip = clip.movedim(-1, 1)  # [T, 3, h, w]
        for adjust, factor in zip(ADJUSTMENTS, self.colours, strict=True):
            clip = adjust(clip, factor)
        return clip.movedim(1, -1).contiguous()


def draw_colours(jitter: Sequence[float], generator: torch.Generator) -> tuple[float, float, float]:
    """Factors of brightness, contrast and saturation, each uniform in 1 - jitter to 1 + jitter."""
    draws = torch.rand(3, generator=generator).tolist()
    brightness, contrast, saturation = (1 + j * (2 * u - 1) for j, u in zip(jitter, draws, strict=True))
    return brightness, contrast, saturation


def clips_on(clips: Tensor | list[RawClip], size: Sequence[int], device: torch.device) -> Tensor:
    """Moves a batch's clips to the training device, and crops them there if the loader did not: uint8."""
    if isinstance(clips, Tensor):
        return clips.to(device, non_blocking=True)
    return torch.stack([RawClip(*clip).finished(size, device) for clip in clips])


class TrainingClips(NamedTuple):
    """A sample, or a batch, of pre-training data; each video gives R clips."""

    clips: Tensor | list[RawClip]  # uint8 [R, T, H, W, 3], or R RawClip to crop on the training device
    mask: Mask | None  # of R clips; None if the objective reads no masks
    # int64 [R], timesteps in 1..T, or [R, M] with one for each masked patch; None if the objective
    # reads none
    t: Tensor | None
    samples: tuple[SampleKey, ...]  # the key of each video's sample
    faults: tuple[Fault, ...]  # the unreadable videos that were replaced


class ClipDataset(RandomClips[TrainingClips]):
    """Random clips with their masks and timesteps.

    Args:
        entries, clip_sampler, reading: see :class:`~diffmae_video.data.random_clips.RandomClips`.
        size: (height, width) in pixels.
        patch: (frames, height, width) of a patch.
        mask: arguments of :meth:`~diffmae_video.masks.Mask.draw`: ``kind`` and ``ratio``.
            None draws no masks.
        mask_mix: gives a share of the steps other masks; None gives all the same.
        schedule: draws the timesteps; None draws none.
        token_timesteps: draw a timestep for every masked patch, and not for every clip.
        crop_scale: (least, greatest) share of the frame's area that a random crop takes.
        flip: mirror half of the clips.
        colour_jitter: how far brightness, contrast and saturation of a clip change, each from 0 to 1: the
            factor is uniform in 1 - jitter to 1 + jitter, as in torchvision's ``ColorJitter``.
        crop_on_device: leave cropping, resizing and mirroring to :func:`clips_on`.
        decode_on_device: leave decoding too to :class:`~diffmae_video.data.device_decoding.DeviceDecoder`,
            of files in which torchcodec finds the same frames as the exact reader, and at their full size.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        clip_sampler: ClipSampler,
        *,
        size: Sequence[int],
        patch: Triple,
        mask: Mapping[str, Any] | None,
        mask_mix: MaskMix | None,
        schedule: NoiseSchedule | None,
        token_timesteps: bool,
        crop_scale: Sequence[float],
        flip: bool,
        colour_jitter: Sequence[float],
        crop_on_device: bool,
        decode_on_device: bool,
        **reading: Unpack[Reading],
    ) -> None:
        if decode_on_device:  # the worker needs the exact reader, and the size that is stored
            reading["backend"], reading["short_side"] = "pyav", 0
        super().__init__(entries, clip_sampler, **reading)
        self.size, self.mask, self.mask_mix, self.schedule = tuple(size), mask, mask_mix, schedule
        self.token_timesteps = token_timesteps
        self.crop_scale, self.flip, self.crop_on_device = crop_scale, flip, crop_on_device
        self.decode_on_device, self.colour_jitter = decode_on_device, colour_jitter
        self.grid = grid_of((clip_sampler.num_frames, self.size[0], self.size[1]), patch)

    def read(self, video: VideoReader, clips: Sequence[list[int]]) -> list[Any]:
        if not (self.decode_on_device and video.is_plain):
            return super().read(video, clips)
        data = torch.frombuffer(bytearray(video.content()), dtype=torch.uint8)
        about = (data, video.path, video.num_frames, video.height, video.width)
        return [EncodedFrames(*about, indices) for indices in clips]

    def sample(self, key: SampleKey, decoded: DecodedClips, faults: tuple[Fault, ...]) -> TrainingClips:
        clips, masks, timesteps = [], [], []
        mask = self.mask
        if mask is not None and self.mask_mix is not None:
            mask = self.mask_mix.draw(mask, random_state(self.seed, key.step_start, OF_MASKS))
        for frames, generator in zip(decoded.clips, decoded.generators, strict=True):
            is_encoded = isinstance(frames, EncodedFrames)
            height, width = (frames.height, frames.width) if is_encoded else frames.shape[1:3]
            crop = draw_crop((height, width), self.size, generator, self.crop_scale)
            flip = bool(torch.rand((), generator=generator) < 0.5) and self.flip
            colours = draw_colours(self.colour_jitter, generator) if any(self.colour_jitter) else SAME_COLOURS
            clips.append(RawClip(frames if is_encoded else torch.from_numpy(frames), crop, flip, colours))
            if mask is not None:
                masks.append(Mask.draw(batch=1, grid=self.grid, generator=generator, **mask))
            if self.schedule is not None:
                size = masks[-1].masked.shape if self.token_timesteps else (1,)
                timesteps.append(self.schedule.draw_timesteps(size, generator))
        drawn = Mask.cat(masks) if masks else None
        t = torch.cat(timesteps) if timesteps else None
        if self.crop_on_device or self.decode_on_device:
            return TrainingClips(clips, drawn, t, (key,), faults)
        finished = [clip.finished(self.size, torch.device("cpu")) for clip in clips]
        return TrainingClips(torch.stack(finished), drawn, t, (key,), faults)

    @staticmethod
    def collate(samples: Sequence[TrainingClips]) -> TrainingClips:
        clips = [s.clips for s in samples]
        finished = [c for c in clips if isinstance(c, Tensor)]
        masks = [s.mask for s in samples if s.mask is not None]
        timesteps = [s.t for s in samples if s.t is not None]
        raw = [clip for c in clips if not isinstance(c, Tensor) for clip in c]
        return TrainingClips(
            torch.cat(finished) if finished else raw,
            Mask.cat(masks) if masks else None,
            torch.cat(timesteps) if timesteps else None,
            tuple(key for s in samples for key in s.samples),
            tuple(fault for s in samples for fault in s.faults),
        )
