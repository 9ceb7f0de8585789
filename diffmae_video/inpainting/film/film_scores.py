"""What is measured of a film while it is filled: inside the hole against the input, and at the joints.

The input is the truth only where the hole hides what is to come back. What is an object to be removed has
no truth, and the comparisons say no more than how far the fill is from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffmae_video.inpainting.film.film_filler import FilledFrame
from diffmae_video.inpainting.metrics import flicker, gradient_energy


class FilmScores:
    """Sums over a film's frames, taken one by one; memory grows by a few numbers a frame.

    Args:
        samples: of each frame.
        patch: frames of one.
        clips, stretches: frames at which a clip or a stretch starts or ends.
    """

    def __init__(self, samples: int, patch: int, clips: Iterable[int], stretches: Iterable[int]) -> None:
        self.patch = patch
        self.samples, self.clips, self.stretches = samples, set(clips), set(stretches)
        self.frames = self.hidden = self.visible = 0
        self.visible_sum = np.zeros(3)
        self.mean_error = 0.0
        self.error, self.inside, self.outside = (np.zeros(samples) for _ in range(3))
        self.gradient = np.zeros(samples + 1)  # the last is the truth's, as in ``change``
        self.change: list[tuple[int, int, np.ndarray]] = []  # frame, pixels, sum of |x[t] - x[t - 1]| of each
        self.before: tuple[Tensor, Tensor] | None = None

    def add(self, frame: FilledFrame) -> None:
        """Takes the next frame in."""
        self.frames += 1
        pictures = np.stack([*frame.samples, frame.truth]).astype(np.float32) / 255  # [K + 1, H, W, 3]
        difference = np.abs(pictures[:-1] - pictures[-1])
        hole = frame.hole
        hidden = int(hole.sum())
        self.outside += difference[:, ~hole].sum((1, 2), dtype=np.float64)
        self.visible += hole.size - hidden
        self.visible_sum += pictures[-1][~hole].sum(0, dtype=np.float64)
        if hidden == 0:
            self.before = None
            return
        self.hidden += hidden
        truth = pictures[-1][hole]
        self.inside += difference[:, hole].sum((1, 2), dtype=np.float64)
        self.error += (difference[:, hole] ** 2).sum((1, 2), dtype=np.float64)
        mean = self.visible_sum / self.visible if self.visible else np.full(3, 0.5)
        self.mean_error += float(((truth - mean) ** 2).sum())
        rows, columns = np.nonzero(hole.any(1))[0], np.nonzero(hole.any(0))[0]
        box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        region = torch.from_numpy(hole)[None, None, None]  # [1, 1, 1, H, W]
        clips = torch.from_numpy(pictures).permute(0, 3, 1, 2)[:, :, None]  # [K + 1, 3, 1, H, W]
        self.gradient += gradient_energy(clips[..., box[0], box[1]], region[..., box[0], box[1]]).numpy()
        if self.before is not None:
            both = torch.cat([self.before[1], region], dim=2)
            pixels = int((both[:, :, 0] & both[:, :, 1]).sum())
            pair = torch.cat([self.before[0], clips], dim=2)
            cut = (*(slice(None),) * 3, *box)
            if pixels:
                change = flicker(pair[cut], both[cut]).numpy().astype(np.float64)
                self.change.append((frame.number, pixels, change))
        self.before = (clips, region)

    def result(self) -> dict[str, Any]:
        """The figures; NaN becomes None, where there is nothing to measure.

        Differences are in levels of 255 and PSNR in dB, over hidden values but for ``outside``.
        ``joint_difference`` is the mean of |x[t] - x[t - 1]| at frames t where a clip starts or ends,
        ``stretch_joint_difference`` where a stretch starts, ``inner_difference`` at all other frames and
        ``patch_difference`` at those of them where a patch would start, counted from the first frame.
        """
        inner = [c for c in self.change if c[0] not in self.clips]
        kinds = {
            "joint_difference": [c for c in self.change if c[0] in self.clips],
            "stretch_joint_difference": [c for c in self.change if c[0] in self.stretches],
            "inner_difference": inner,
            "patch_difference": [c for c in inner if c[0] % self.patch == 0],
        }
        values = max(1, 3 * self.hidden)

        def differences(k: int) -> dict[str, float | None]:
            return {name: _finite(_mean(changes, k)) for name, changes in kinds.items()}

        return {
            "frames": self.frames,
            "hidden_share": self.hidden / max(1, self.hidden + self.visible),
            "mean_fill_psnr": _psnr(self.mean_error / values),
            "truth": differences(-1),
            "samples": [
                {
                    "psnr": _psnr(self.error[k] / values),
                    "difference_inside": 255 * self.inside[k] / values,
                    "difference_outside": 255 * self.outside[k] / max(1, 3 * self.visible),
                    "flicker": _finite(_ratio(_mean(self.change, k), _mean(self.change, -1))),
                    "gradient_ratio": _finite(_ratio(self.gradient[k], self.gradient[-1])),
                    **differences(k),
                }
                for k in range(self.samples)
            ],
        }


def _mean(changes: list[tuple[int, int, np.ndarray]], k: int) -> float:
    """Levels of 255 for each value that is hidden in both frames."""
    pixels = sum(count for _, count, _ in changes)
    return 255 * float(sum(change[k] for *_, change in changes)) / (3 * pixels) if pixels else math.nan


def _ratio(fill: float, truth: float) -> float:
    return float(fill / truth) if truth else math.nan


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _psnr(error: float) -> float:
    return -10 * math.log10(max(error, 1e-10))
