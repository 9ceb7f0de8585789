"""Where a film cuts from one shot to the next, and how the camera moves within a shot.

Both read known pixels only: the hole is first filled from what surrounds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from diffmae_video.errors import require

SIDE = 480  # pixels of the longer side of the pictures that are compared
CUT_SIDE = 160
SHORTEST_SHOT = 8  # frames
LEAST_OVERLAP = 0.5  # share of each side that two frames must have in common
FPS = 25.0  # scenedetect wants a rate; frames are counted, so that any will do


class CutDetector:
    """Finds cuts with scenedetect's adaptive detector, which tells them from fast motion.

    Frames are added in order; :meth:`finish` returns the first frame of every shot but the first.
    """

    def __init__(self) -> None:
        require("cv2", "film")
        self.detector = require("scenedetect.detectors", "film").AdaptiveDetector(min_scene_len=SHORTEST_SHOT)
        self.timecode = require("scenedetect", "film").FrameTimecode
        self.cuts: list[int] = []
        self.count = 0

    def add(self, frame: np.ndarray, hole: np.ndarray) -> None:
        """Takes the next frame, uint8 [H, W, 3], and its hole, bool [H, W]."""
        small, _ = shrink(frame, hole, CUT_SIDE)
        picture = (255 * small).round().byte().permute(1, 2, 0).flip(-1).contiguous().numpy()  # OpenCV's BGR
        found = self.detector.process_frame(self.timecode(self.count, FPS), picture)
        self.cuts += [int(cut.frame_num) for cut in found]
        self.count += 1

    def finish(self) -> list[int]:
        return sorted({cut for cut in self.cuts if 0 < cut < self.count})


class View(NamedTuple):
    """A frame as the camera's motion is read from it.

    Attributes:
        grey: float32 [1, 1, h, w]; meaningless where it is not known.
        known: bool [h, w].
    """

    grey: Tensor
    known: Tensor


class CameraTracker:
    """The camera's shift from each frame to the next, by phase correlation (OpenCV).

    The frames are correlated a second time where they overlap by the first result in whole pixels: close to 0
    the method is more exact. A shift is believed only if the frames, laid over each other by it, differ less
    where both are known than they do without it; otherwise the camera stands still (our choice).
    """

    def __init__(self) -> None:
        self.cv2 = require("cv2", "film")
        self.before: View | None = None

    def add(self, frame: np.ndarray, hole: np.ndarray) -> tuple[float, float]:
        """The shift (rows, columns) in pixels of what was seen in the frame before; 0 for the first frame."""
        small, known = shrink(frame, hole, SIDE)
        before, now = self.before, View(small.mean(0)[None, None], known)
        self.before = now
        if before is None:
            return 0.0, 0.0
        rows, columns = self._correlate(before, now)
        whole = round(rows), round(columns)
        a, b = _laid_over(before, now, whole)
        if min(a.known.shape) >= LEAST_OVERLAP * min(known.shape):
            rest = self._correlate(a, b)
            if max(map(abs, rest)) < 1:
                rows, columns = whole[0] + rest[0], whole[1] + rest[1]
        whole = round(rows), round(columns)
        if whole != (0, 0) and not _difference(before, now, whole) < _difference(before, now, (0, 0)):
            return 0.0, 0.0
        return rows * frame.shape[0] / known.shape[0], columns * frame.shape[1] / known.shape[1]

    def _correlate(self, first: View, second: View) -> tuple[float, float]:
        """The shift from the first view to the second. What one does not know is filled in both."""
        both = (first.known & second.known)[None, None].float()
        parts = tuple(self._middle(n) for n in both.shape[-2:])
        pictures = [
            fill_from_around(view.grey.expand(-1, 3, -1, -1) * both, both)[0, 0][parts].contiguous().numpy()
            for view in (first, second)
        ]
        window = self.cv2.createHanningWindow(pictures[0].shape[::-1], self.cv2.CV_32F)
        (x, y), _ = self.cv2.phaseCorrelate(*pictures, window)
        return float(y), float(x)

    def _middle(self, length: int) -> slice:
        """The middle of a side: an even length that OpenCV does not pad, or it is off by half a pixel."""
        size = length - length % 2
        while self.cv2.getOptimalDFTSize(size) != size:
            size -= 2
        return slice((length - size) // 2, (length + size) // 2)


def _laid_over(first: View, second: View, shift: tuple[int, int]) -> tuple[View, View]:
    """The parts of two views that show the same if the second's content lies ``shift`` further on."""
    a, b = zip(*(_overlap(n, s) for n, s in zip(first.known.shape, shift, strict=True)), strict=True)
    return View(first.grey[..., a[0], a[1]], first.known[a]), View(
        second.grey[..., b[0], b[1]], second.known[b]
    )


def _difference(first: View, second: View, shift: tuple[int, int]) -> float:
    """The mean difference where both views are known; infinite if they hardly overlap."""
    a, b = _laid_over(first, second, shift)
    both = a.known & b.known
    if both.sum() < 0.1 * both.numel() or both.numel() < LEAST_OVERLAP**2 * first.known.numel():
        return float("inf")
    return float((a.grey - b.grey).abs()[0, 0][both].mean())


def _overlap(length: int, shift: int) -> tuple[slice, slice]:
    """What two lines have in common, in each of them, if content lies ``shift`` further on in the second."""
    start, stop = max(0, -shift), min(length, length - shift)
    return slice(start, max(start, stop)), slice(start + shift, max(start, stop) + shift)


def shrink(frame: np.ndarray, hole: np.ndarray, side: int) -> tuple[Tensor, Tensor]:
    """A small picture of a frame whose hole is filled from around it, and where it is known.

    Returns:
        float32 [3, h, w] in [0, 1], and bool [h, w]: where no hidden pixel took part.
    """
    scale = min(1.0, side / max(frame.shape[:2]))
    size = [max(8, round(scale * n)) for n in frame.shape[:2]]
    known = torch.from_numpy(~hole)[None, None].float()
    picture = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float() / 255 * known
    if size != list(frame.shape[:2]):
        picture, known = (F.interpolate(x, size=size, mode="area") for x in (picture, known))
    filled = fill_from_around(picture, known)
    return filled[0], known[0, 0] > 0.999


def fill_from_around(weighted: Tensor, weight: Tensor) -> Tensor:
    """Fills pictures smoothly from their known pixels (push-pull; Gortler et al. 1996).

    Args:
        weighted: float [B, 3, H, W], the pixels times their weights.
        weight: float [B, 1, H, W] in [0, 1]; 0 where a pixel is unknown.

    Returns:
        float [B, 3, H, W]: the known pixels, and where the weight is low the mean of ever larger
        surroundings; 0 if nothing is known.
    """
    levels = list(_coarser(weighted, weight))
    filled = levels[-1][0] / levels[-1][1].clamp_min(1e-8)
    for pixels, weights in reversed(levels[:-1]):
        smooth = F.interpolate(filled, size=pixels.shape[-2:], mode="bilinear")
        filled = pixels + (1 - weights) * smooth
    return filled


def _coarser(weighted: Tensor, weight: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    yield weighted, weight
    while max(weight.shape[-2:]) > 1:
        weighted, total = (
            F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False) for x in (weighted, weight)
        )
        weight = (4 * total).clamp(max=1)  # one known pixel of four is enough
        weighted = weighted * (weight / total.clamp_min(1e-8))
        yield weighted, weight
