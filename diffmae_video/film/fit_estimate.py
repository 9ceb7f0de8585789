"""How good the fill of a fitted film will be: measured where the film is known and training never looked."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffmae_video.film.base_fill import BaseFill, inpaint_frames
from diffmae_video.film.fit_windows import Colours
from diffmae_video.film.held_out import Place, moved_hole
from diffmae_video.film.rehearsals import REACH, fill_scene
from diffmae_video.film.scene import Scene
from diffmae_video.film.scene_filler import BASE, FILLS, SceneFiller
from diffmae_video.film.scene_windows import WindowShape
from diffmae_video.inpainting.metrics import flicker, gradient_energy, psnr, region_mean, ssim_map
from diffmae_video.models import PretrainingModel

FRAMES = 12  # of each scene that the estimate fills
GRADIENTS = (0.5, 1.3)  # gradient energy over the truth's that looks neither blurred nor noisy
FLICKERS = (0.5, 1.5)  # the same of differences between frames
LEAST_PIXELS = 64  # of a place, for it to count

Scores = dict[str, float | None]


def estimate(
    model: PretrainingModel,
    scenes: Sequence[Scene],
    shown: Sequence[Scene],
    places: Sequence[Sequence[Place]],
    base_fill: BaseFill,
    shape: WindowShape,
    colours: Colours,
    kinds: Sequence[str],
    sampler: str,
    steps: int,
) -> dict[str, Any]:
    """Scores of the model's fills and of the simple ones, on held-out places.

    Args:
        scenes: the film's scenes.
        shown: the same, which hide their places too.
        places: of each scene.
        base_fill: measured on ``shown``.
        kinds: of fill; the base fill alone needs no model.

    Returns:
        ``fills``: for each kind of fill ``psnr`` (dB), ``ssim``, ``flicker`` and ``gradient_ratio`` (both
        over the truth's), each with its spread over places as ``..._spread``. ``places``: how many there are.
        ``fill``: the kind that :func:`best_fill` chooses. ``gain``: its PSNR over the best simple fill's, in
        dB. Without a place, ``fill`` is ``base`` and there are no scores.
    """
    scores: dict[str, list[Scores]] = {}
    for scene, hiding, spots in zip(scenes, shown, places, strict=True):
        start = max(0, (scene.num_frames - FRAMES) // 2)
        stop = min(scene.num_frames, start + FRAMES)
        hidden = np.array(scene.hidden[start:stop])
        regions = [
            np.stack([moved_hole(scene, spot, f) for f in range(start, stop)]) & ~hidden for spot in spots
        ]
        regions = [region for region in regions if region.sum() >= LEAST_PIXELS]
        if not regions:
            continue
        wanted = np.any(regions, axis=0)
        first, last = max(0, start - REACH), min(scene.num_frames, stop + REACH)
        part = fill_scene(base_fill, hiding.part(first, last))
        filler = SceneFiller(model, part, shape, colours, start - first, stop - first, wanted)
        truth = np.array(scene.pixels[start:stop])
        fills = {
            **(filler.all_fills(sampler, steps, seed=0) if len(kinds) > 1 else {BASE: filler.base_frames()}),
            **simple_fills(truth, np.array(hiding.hidden[start:stop]), colours.mean),
        }
        for name, frames in fills.items():
            scores.setdefault(name, []).extend(_scores(frames, truth, region) for region in regions)
    if not scores:
        return {"places": 0, "fills": {}, "fill": BASE, "gain": None}
    means = {name: _summary(rows) for name, rows in scores.items()}
    fill = best_fill({kind: means[kind] for kind in kinds})
    simple = max(float(row["psnr"] or 0) for name, row in means.items() if name not in FILLS)
    gain = float(means[fill]["psnr"] or 0) - simple
    return {"places": len(next(iter(scores.values()))), "fills": means, "fill": fill, "gain": gain}


def best_fill(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """The kind of fill that is best for the eye.

    Of those whose gradient energy is ``GRADIENTS`` and whose change between frames is ``FLICKERS`` times the
    truth's, the one with the highest PSNR; if there is none, the one that misses these bounds least (our
    choice).
    """

    def miss(row: Mapping[str, Any]) -> float:
        bounds = ((row["gradient_ratio"], GRADIENTS), (row["flicker"], FLICKERS))
        return sum(max(0.0, low - v, v - high) for v, (low, high) in bounds if v is not None)

    return min(scores, key=lambda kind: (miss(scores[kind]), -scores[kind]["psnr"]))


def simple_fills(frames: np.ndarray, hidden: np.ndarray, mean: Sequence[float]) -> dict[str, np.ndarray]:
    """Frames uint8 [n, H, W, 3] filled by the mean colour, and frame by frame by OpenCV's two ways."""
    fills = {"mean fill": np.where(hidden[..., None], np.array(mean).round().astype(np.uint8), frames)}
    for name, kind in (("OpenCV Telea", "INPAINT_TELEA"), ("OpenCV Navier-Stokes", "INPAINT_NS")):
        fills[name] = inpaint_frames(frames, hidden, kind)
    return fills


def _scores(fill: np.ndarray, truth: np.ndarray, region: np.ndarray) -> Scores:
    """Scores over a region, bool [n, H, W]; None where there is nothing to compare."""
    rows, columns = np.flatnonzero(region.any((0, 2))), np.flatnonzero(region.any((0, 1)))
    edge = 8  # pixels around the region, which SSIM's window sees
    part = (
        slice(None),
        slice(max(0, rows[0] - edge), rows[-1] + 1 + edge),
        slice(max(0, columns[0] - edge), columns[-1] + 1 + edge),
    )
    filled, true = (_clip(frames[part]) for frames in (fill, truth))
    inside = torch.from_numpy(region[part])[None, None]
    return {
        "psnr": float(psnr(filled, true, inside)),
        "ssim": float(region_mean(ssim_map(filled, true), inside)),
        "flicker": _ratio(flicker(filled, inside), flicker(true, inside)),
        "gradient_ratio": _ratio(gradient_energy(filled, inside), gradient_energy(true, inside)),
    }


def _clip(frames: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2)[None].float() / 255


def _ratio(fill: Tensor, truth: Tensor) -> float | None:
    return float(fill / truth) if float(truth) > 0 else None


def _summary(rows: Sequence[Scores]) -> dict[str, float | None]:
    """The mean of each score over places, and its standard deviation as ``..._spread``."""
    summary: dict[str, float | None] = {}
    for name in rows[0]:
        values = [value for row in rows if (value := row[name]) is not None]
        summary[name] = statistics.mean(values) if values else None
        summary[f"{name}_spread"] = statistics.pstdev(values) if values else None
    return summary
