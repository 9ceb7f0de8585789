"""Predicts the classes of videos and pictures, as a whole and over time."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from diffmae_video.data import Entry, VideoError, find_videos
from diffmae_video.data.clip_sampler import read_clips
from diffmae_video.data.transforms import center_crop
from diffmae_video.data.views import read_views
from diffmae_video.decoding import DecodingProcess
from diffmae_video.errors import InputError
from diffmae_video.evaluation.label_overlay import label_video, labelled_paths
from diffmae_video.evaluation.scorers import LoadedScorer, load_classifier_scorer, load_neighbour_scorer
from diffmae_video.evaluation.timeline import Label, Timeline, most_likely, window_indices
from diffmae_video.runtime.progress import ProgressBar

WINDOW_BYTES = 2**28  # bounds the frames that are decoded at once


def predict(
    checkpoint: str | Path,
    source: Path,
    output: Path | None,
    top: int,
    views: int,
    labelled: str | Path | None = None,
    options: Sequence[Any] = (),
) -> tuple[dict[str, list[Label]], int]:
    """Predicts the classes of a video, a picture or a folder of them, and prints them.

    Args:
        checkpoint: of a fine-tuned classifier; with ``labelled`` of any model.
        output: where a copy with the labels drawn in goes, or a folder of copies; None writes none.
        top: the number of classes shown.
        views: clips of a video, spread evenly over it.
        labelled: a list or folder of labelled videos whose nearest neighbours label the input.
        options: options that replace those of the checkpoint's run, ``[KEY, VALUE, ...]``.

    Returns:
        The most likely classes by path, and how many videos of a folder could not be read.

    Raises:
        InputError: an argument, the checkpoint or a list is wrong.
        VideoError: ``source`` is a file that cannot be read.
    """
    if top < 1:
        raise InputError(f"--topk must be 1 or more, got {top}")
    if views < 1:
        raise InputError(f"--views must be 1 or more, got {views}")
    if labelled is None:
        loaded = load_classifier_scorer(checkpoint, options)
    else:
        loaded = load_neighbour_scorer(checkpoint, labelled, options, views)
    with Predictor(loaded, views) as predictor:
        is_folder = source.is_dir()
        paths = find_videos(source, predictor.clip_sampler.num_frames == 1) if is_folder else [source]
        targets = labelled_paths(source, paths, output) if output else []
        answers: dict[str, list[Label]] = {}
        unread = 0
        for i, path in enumerate(ProgressBar(paths, unit=" files", disable=len(paths) == 1)):
            try:
                best = most_likely(predictor.classify(path), predictor.classes, top)
                if targets:
                    label_video(path, targets[i], predictor.over_time(path), predictor.classes, top)
            except VideoError as error:
                if not is_folder:
                    raise
                tqdm.write(f"error: {error}", file=sys.stderr)
                unread += 1
                continue
            answers[str(path)] = best
            lines = [f"{path}", *(f"  {probability:6.1%}  {label}" for label, probability in best)]
            tqdm.write("\n".join(lines), file=sys.stdout)
    return answers, unread


class Predictor:
    """Reads clips of videos and scores them.

    Args:
        views: clips of a video, spread evenly over it; the scorer's outputs are averaged over them.
    """

    def __init__(self, loaded: LoadedScorer, views: int) -> None:
        self.scorer, self.clip_sampler, self.size, self.batch, self.backend, self.short_side, timeout = loaded
        self.classes, self.views = self.scorer.classes, views
        self.decoder = DecodingProcess(timeout)

    def classify(self, path: str | Path) -> np.ndarray:
        """The probabilities of a video or picture: float [classes].

        Raises:
            VideoError: it cannot be read.
        """
        with self.decoder.open(path, self.backend, self.short_side) as video:
            num_starts = self.clip_sampler.num_starts(video, 0, video.num_frames)
            views = self.views if num_starts > 1 else 1  # all views would be the same
            clips = read_views(video, Entry(str(path)), self.clip_sampler, self.size, views, 1)
        outputs = torch.cat([self.scorer.outputs(part) for part in clips.split(self.batch)])
        return self._probabilities(outputs.mean(0, keepdim=True))[0]

    def over_time(self, path: str | Path) -> Timeline:
        """The probabilities of overlapping windows, each half a clip after the one before (our choice).

        Windows are decoded a few at a time, so that memory does not grow with the length of the video.

        Raises:
            VideoError: the video cannot be read.
        """
        seconds, probabilities = [], []
        with self.decoder.open(path, self.backend, self.short_side) as video:
            windows = window_indices(video, self.clip_sampler)
            frame_bytes = 3 * video.height * video.width
            count = min(self.batch, max(1, WINDOW_BYTES // (frame_bytes * self.clip_sampler.num_frames)))
            with ProgressBar(total=len(windows), desc="predicting", unit=" windows", leave=False) as bar:
                for first in range(0, len(windows), count):
                    batch = windows[first : first + count]
                    clips = [center_crop(frames, self.size) for frames in read_clips(video, batch)]
                    probabilities.append(self._probabilities(self.scorer.outputs(torch.stack(clips))))
                    seconds += [(video.times[clip[0]] + video.times[clip[-1]]) / 2 for clip in batch]
                    bar.update(len(batch))
        return Timeline(np.array(seconds), np.concatenate(probabilities))

    def _probabilities(self, outputs: torch.Tensor) -> np.ndarray:
        return self.scorer.probabilities(outputs).float().cpu().numpy()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, *_: Any) -> None:
        self.decoder.stop()
