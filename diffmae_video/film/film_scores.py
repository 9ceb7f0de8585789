"""Scores of a filled film: the fill against the input inside the hole, and how smooth the joints are.

The input is the truth only if the hole hides something that the fill should bring back. If it hides an object
to be removed, there is no truth, and these scores only say how far the fill is from that object.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffmae_video.film.film_filler import FilledFrame
from diffmae_video.film.running_interpolation import RunningInterpolation
from diffmae_video.inpainting.metrics import flicker, gradient_energy


class Change(NamedTuple):
    """How much a frame differs from the one before, over the pixels that are hidden in both."""

    frame: int  # the frame's number
    pixels: int  # how many pixels are hidden in both frames
    sums: np.ndarray  # Σ |x[t] - x[t - 1]| of each sample and, last, of the input; float64 [K + 1]


class FilmScores:
    """Gathers the scores of a film frame by frame; memory grows by a few numbers a frame.

    Args:
        samples: K, the number of samples of each frame.
        patch: frames of a patch.
        clips, stretches: frames at which a clip or a stretch starts or ends.

    Attributes:
        hidden: hidden pixels so far.
    """

    def __init__(self, samples: int, patch: int, clips: Iterable[int], stretches: Iterable[int]) -> None:
        self.samples, self.patch = samples, patch
        self.clips, self.stretches = set(clips), set(stretches)
        self.frames = self.hidden = self.visible = 0
        self.visible_sum, self.hidden_sum, self.hidden_squares = np.zeros(3), np.zeros(3), 0.0  # of the input
        self.interpolation = RunningInterpolation()
        self.squared_error, self.inside, self.outside = (np.zeros(samples) for _ in range(3))
        self.gradient = np.zeros(samples + 1)  # of each sample and, last, of the input
        self.changes: list[Change] = []
        self.before: tuple[Tensor, Tensor] | None = None  # the previous frame's pictures and hole

    def add(self, frame: FilledFrame) -> None:
        """Takes the next frame."""
        self.frames += 1
        hole, hidden = frame.hole, int(frame.hole.sum())
        pictures = np.stack([*frame.samples, frame.truth]).astype(np.float32) / 255  # [K + 1, H, W, 3]
        difference = np.abs(pictures[:-1] - pictures[-1])
        self.visible += hole.size - hidden
        self.visible_sum += pictures[-1][~hole].sum(0, dtype=np.float64)
        self.outside += difference[:, ~hole].sum((1, 2), dtype=np.float64)
        self.interpolation.add(frame.truth, hole)
        if hidden == 0:
            self.before = None
            return
        truth = pictures[-1][hole].astype(np.float64)
        self.hidden += hidden
        self.hidden_sum += truth.sum(0)
        self.hidden_squares += float((truth**2).sum())
        self.inside += difference[:, hole].sum((1, 2), dtype=np.float64)
        self.squared_error += (difference[:, hole] ** 2).sum((1, 2), dtype=np.float64)
        self._add_detail(frame.number, hole, pictures)

    def _add_detail(self, number: int, hole: np.ndarray, pictures: np.ndarray) -> None:
        """Takes gradients and the change since the frame before, inside the hole's bounding box."""
        rows, columns = np.nonzero(hole.any(1))[0], np.nonzero(hole.any(0))[0]
        box = (..., slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        region = torch.from_numpy(hole)[None, None, None]  # [1, 1, 1, H, W]
        clips = torch.from_numpy(pictures).permute(0, 3, 1, 2)[:, :, None]  # [K + 1, 3, 1, H, W]
        self.gradient += gradient_energy(clips[box], region[box]).numpy()
        if self.before is not None:
            pair, both = (torch.cat(x, dim=2)[box] for x in zip(self.before, (clips, region), strict=True))
            pixels = int((both[:, :, 0] & both[:, :, 1]).sum())
            if pixels:
                self.changes.append(Change(number, pixels, flicker(pair, both).numpy().astype(np.float64)))
        self.before = (clips, region)

    def result(self) -> dict[str, Any]:
        """The scores; None where there is nothing to measure. Call it once, after the last frame.

        PSNR is in dB and differences are in levels of 255, both over hidden values except for
        ``difference_outside``. ``mean_fill_psnr`` and ``interpolation_psnr`` are those of filling with the
        mean of the film's visible pixels, and linearly in time. ``truth`` has the input's own differences.

        ``joint_difference`` is the mean |x[t] - x[t - 1]| at frames t where a clip starts or ends,
        ``stretch_joint_difference`` where a stretch starts, ``inner_difference`` at all other frames, and
        ``patch_difference`` at those of the other frames where a patch starts, counted from the first frame.
        """
        inner = [c for c in self.changes if c.frame not in self.clips]
        kinds = {
            "joint_difference": [c for c in self.changes if c.frame in self.clips],
            "stretch_joint_difference": [c for c in self.changes if c.frame in self.stretches],
            "inner_difference": inner,
            "patch_difference": [c for c in inner if c.frame % self.patch == 0],
        }
        values = max(1, 3 * self.hidden)
        mean = self.visible_sum / self.visible if self.visible else np.full(3, 0.5)
        mean_error = self.hidden_squares - 2 * self.hidden_sum @ mean + self.hidden * (mean**2).sum()

        def differences(k: int) -> dict[str, float | None]:
            return {name: _finite(_mean_change(changes, k)) for name, changes in kinds.items()}

        return {
            "frames": self.frames,
            "hidden_share": self.hidden / max(1, self.hidden + self.visible),
            "mean_fill_psnr": _psnr(mean_error / values),
            "interpolation_psnr": _psnr(self.interpolation.finish(255 * mean) / 255**2 / values),
            "truth": differences(-1),
            "samples": [
                {
                    "psnr": _psnr(self.squared_error[k] / values),
                    "difference_inside": 255 * self.inside[k] / values,
                    "difference_outside": 255 * self.outside[k] / max(1, 3 * self.visible),
                    "flicker": _ratio(_mean_change(self.changes, k), _mean_change(self.changes, -1)),
                    "gradient_ratio": _ratio(self.gradient[k], self.gradient[-1]),
                    **differences(k),
                }
                for k in range(self.samples)
            ],
        }


def _mean_change(changes: list[Change], k: int) -> float:
    """The mean change in levels of 255; NaN without any."""
    pixels = sum(change.pixels for change in changes)
    return 255 * float(sum(change.sums[k] for change in changes)) / (3 * pixels) if pixels else math.nan


def _ratio(fill: float, truth: float) -> float | None:
    return _finite(float(fill / truth)) if truth else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _psnr(error: float) -> float:
    return -10 * math.log10(max(error, 1e-10))
