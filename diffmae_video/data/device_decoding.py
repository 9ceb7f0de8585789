"""Decodes the clips of pre-training on the training device, where the loader only reads files.

A worker opens a video to find its frames and draws the clips, as it does without a GPU, and puts the encoded
file into the batch. Everything else about a sample is the same: its order, its draws, and what replaces a bad
video.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from diffmae_video.data.pretraining_clips import ClipDataset, EncodedFrames, RawClip, TrainingClips, clips_on
from diffmae_video.decoding.on_device import decode_on_device, device_problem
from diffmae_video.decoding.reader import VideoError
from diffmae_video.errors import InputWarning

THREADS = 8  # videos decoded at once; an H100 has 7 decoders


def resolve_device_decoding(choice: bool, device: torch.device) -> bool:
    """Whether a run decodes on its device; ``choice`` is DATA.DECODE_ON_DEVICE. Warns if it cannot."""
    if not choice:
        return False
    problem = device_problem(str(device)) if device.type == "cuda" else "there is no GPU"
    if problem:
        warnings.warn(
            f"DATA.DECODE_ON_DEVICE is off, and videos are decoded on the CPU: {problem}",
            InputWarning,
            stacklevel=2,
        )
    return not problem


class DeviceDecoder:
    """Decodes a loader's batches on a device, one batch ahead of the training step.

    A video that the device cannot decode is read again on the CPU, which may replace it as the loader would
    have done. Its sample is then the one that a run without decoding on the device has.

    Args:
        dataset: of the loader.
        device: where clips are decoded, cropped and resized.
    """

    def __init__(self, dataset: ClipDataset, device: torch.device) -> None:
        self.device, self.size, self.repeats = device, dataset.size, dataset.repeats
        self.on_cpu = copy.copy(dataset)
        self.on_cpu.decode_on_device = self.on_cpu.crop_on_device = False

    def __call__(self, batches: Iterator[TrainingClips]) -> Iterator[TrainingClips]:
        """The same batches, with decoded clips on the device: uint8 [B, T, h, w, 3]."""
        with ThreadPoolExecutor(THREADS, thread_name_prefix="decoder") as pool:
            ahead: tuple[TrainingClips, list[Future[list[Tensor]]]] | None = None
            for batch in batches:
                assert isinstance(batch.clips, list)
                firsts = range(0, len(batch.clips), self.repeats)
                parts = [batch.clips[first : first + self.repeats] for first in firsts]
                started = batch, [pool.submit(self._decode, part) for part in parts]
                if ahead is not None:
                    yield self._finish(*ahead)
                ahead = started

    def _decode(self, clips: Sequence[RawClip]) -> list[Tensor]:
        """The clips of one video, which is decoded once."""
        frames = [clip.frames for clip in clips]
        encoded = [part for part in frames if isinstance(part, EncodedFrames)]
        if encoded:
            first = encoded[0]
            unique = sorted({index for part in encoded for index in part.indices})
            decoded = decode_on_device(first.data, first.path, first.num_frames, unique, str(self.device))
            if tuple(decoded.shape[1:3]) != (first.height, first.width):
                raise VideoError(f"{first.path}: torchcodec decodes frames of another size")
            rows = [[unique.index(index) for index in part.indices] for part in encoded]
            clips = [clip._replace(frames=decoded[row]) for clip, row in zip(clips, rows, strict=True)]
        return list(clips_on(list(clips), self.size, self.device))

    def _finish(self, batch: TrainingClips, parts: Sequence[Future[list[Tensor]]]) -> TrainingClips:
        clips: list[Tensor] = []
        faults = list(batch.faults)
        for number, (key, part) in enumerate(zip(batch.samples, parts, strict=True)):
            try:
                clips += part.result()
                continue
            except VideoError:
                sample = self.on_cpu[key]
            assert isinstance(sample.clips, Tensor)
            clips += sample.clips.to(self.device)
            faults = [f for f in faults if (f.epoch, f.index) != (key.epoch, key.row)] + list(sample.faults)
            rows = slice(number * self.repeats, (number + 1) * self.repeats)
            if batch.mask is not None and sample.mask is not None:
                batch.mask.visible[rows], batch.mask.masked[rows] = sample.mask.visible, sample.mask.masked
            if batch.t is not None and sample.t is not None:
                batch.t[rows] = sample.t
        return batch._replace(clips=torch.stack(clips), faults=tuple(faults))
