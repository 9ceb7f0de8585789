"""What a classifier sees in a video: its classes as a whole, and over time by sliding windows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffmae_video.config import load_recipe
from diffmae_video.data import ClipSampler, Entry, VideoReader, normalise
from diffmae_video.data.clip_sampler import read_clips
from diffmae_video.data.transforms import center_crop
from diffmae_video.data.views import read_views
from diffmae_video.decoding import DecodingProcess
from diffmae_video.errors import InputError
from diffmae_video.models import load_classifier
from diffmae_video.runtime.progress import ProgressBar

READ_BYTES, READ_FRAMES = 2**28, 512  # at most, that are decoded at once


class Timeline(NamedTuple):
    """Probabilities over time.

    Attributes:
        seconds: the windows' centres, ascending: [W].
        probabilities: [W, classes].
    """

    seconds: np.ndarray
    probabilities: np.ndarray

    def at(self, second: float) -> np.ndarray:
        """Linear between the windows' centres, so that nothing jumps; held before the first and after
        the last one: [classes]."""
        after = int(np.searchsorted(self.seconds, second))
        if after in (0, len(self.seconds)):
            return self.probabilities[min(after, len(self.seconds) - 1)]
        before = self.seconds[after - 1]
        share = (second - before) / (self.seconds[after] - before)
        mixed: np.ndarray = (1 - share) * self.probabilities[after - 1] + share * self.probabilities[after]
        return mixed


class Predictor:
    """A run's classifier, with the way that the run samples clips.

    Args:
        folder: of a fine-tuning run: config.json, model.safetensors, and config.yaml, which says how
            clips are sampled and decoded.
        views: clips of a video, spread evenly over it; their logits are averaged.

    Raises:
        InputError: the folder has no classifier or no config.yaml, or fewer than one view.
    """

    def __init__(self, folder: str | Path, views: int = 5) -> None:
        if views < 1:
            raise InputError(f"a prediction takes 1 view or more, got {views}")
        model = load_classifier(folder)
        cfg = load_recipe(folder)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model, self.views = model.to(self.device), views
        self.classes: list[str] = model.classes
        (t, h, w), (a, p, q) = model.encoder.grid, model.encoder.patch
        self.sampling = ClipSampler(t * a, cfg.DATA.STRIDE, cfg.DATA.FPS)
        self.size = (h * p, w * q)
        self.batch = cfg.EVALUATION.BATCH_SIZE
        self.backend, self.short_side = cfg.DATA.BACKEND, cfg.DATA.SHORT_SIDE
        self.decoder = DecodingProcess(cfg.DATA.TIMEOUT)

    def classify(self, path: str | Path) -> np.ndarray:
        """The probabilities of a video or a picture: float [classes], in the order of ``classes``.

        Raises:
            VideoError: it cannot be read.
        """
        with self.decoder.open(path, self.backend, self.short_side) as video:
            starts = self.sampling.num_starts(video, 0, video.num_frames)
            views = self.views if starts > 1 else 1  # they would all be the same
            clips = read_views(video, Entry(str(path)), self.sampling, self.size, views, 1)
        logits = torch.cat([self._logits(part) for part in clips.split(self.batch)])
        return self._probabilities(logits.mean(0))

    def over_time(self, path: str | Path) -> Timeline:
        """The probabilities of windows of a clip's length, each half of one after the last (our choice).

        Windows are decoded a few at a time, so that memory does not grow with the video's length.

        Raises:
            VideoError: it cannot be read.
        """
        seconds, probabilities = [], []
        with self.decoder.open(path, self.backend, self.short_side) as video:
            windows = window_indices(video, self.sampling)
            frame_bytes = 3 * video.height * video.width
            count = min(self.batch, max(1, READ_BYTES // (frame_bytes * self.sampling.num_frames)))
            with ProgressBar(total=len(windows), desc="predicting", unit=" windows", leave=False) as bar:
                for first in range(0, len(windows), count):
                    batch = windows[first : first + count]
                    clips = [center_crop(frames, self.size) for frames in read_clips(video, batch)]
                    probabilities.append(self._probabilities(self._logits(torch.stack(clips))))
                    seconds += [(video.times[clip[0]] + video.times[clip[-1]]) / 2 for clip in batch]
                    bar.update(len(batch))
        return Timeline(np.array(seconds), np.concatenate(probabilities))

    def top(self, probabilities: np.ndarray, count: int) -> list[tuple[str, float]]:
        """The likeliest classes, falling."""
        order = np.argsort(-probabilities, kind="stable")[:count]
        return [(self.classes[i], float(probabilities[i])) for i in order]

    @torch.no_grad()
    def _logits(self, clips: Tensor) -> Tensor:
        logits: Tensor = self.model(normalise(clips.to(self.device), self.model.mean, self.model.std))
        return logits

    def _probabilities(self, logits: Tensor) -> np.ndarray:
        probabilities: np.ndarray = self.model.probabilities(logits).float().cpu().numpy()
        return probabilities

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, *_: Any) -> None:
        self.decoder.stop()


def window_indices(video: VideoReader, sampling: ClipSampler) -> list[list[int]]:
    """The frames of clips that each start half a clip's duration after the last; one ends with the video."""
    last = sampling.num_starts(video, 0, video.num_frames) - 1
    step = sampling.num_frames * sampling.stride / (sampling.fps or video.fps) / 2
    wanted = np.arange(video.times[0], video.times[last], step)
    starts = sorted({*np.searchsorted(video.times, wanted - 1e-6).tolist(), last})
    return [sampling.indices(video, start, video.num_frames) for start in starts]


def all_frames(video: VideoReader) -> Iterator[np.ndarray]:
    """All frames of a video, uint8 [H, W, 3], decoded a few at a time; each is valid until the next.

    Raises:
        VideoError: one of them cannot be decoded.
    """
    count = max(1, min(READ_FRAMES, READ_BYTES // (3 * video.height * video.width)))
    for first in range(0, video.num_frames, count):
        yield from video.frames(range(first, min(first + count, video.num_frames)))
