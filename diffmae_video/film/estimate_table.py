"""The estimate of a fill as text: a table, and what it says about this film."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffmae_video.film.scene_filler import BASE, FILLS

COLUMNS = {"psnr": "PSNR, dB", "ssim": "SSIM", "gradient_ratio": "gradient", "flicker": "flicker"}


def describe_estimate(estimate: Mapping[str, Any]) -> str:
    """The estimate as a table, with a line that compares the fill with the simple ones.

    Args:
        estimate: see :func:`diffmae_video.film.fit_estimate.estimate`.
    """
    count = estimate["places"]
    if not count:
        return "No place of the film is like the hole and known, so the fill cannot be measured beforehand."
    heads = "".join(f"{title:>14s}" for title in COLUMNS.values())
    spread = "± spread; " if count > 1 else ""
    places = f"{count} held-out place{'s' if count > 1 else ''}"
    lines = [f"On {places} ({spread}gradient and flicker over the truth's):", f"{'':22s}{heads}"]
    for name, row in estimate["fills"].items():
        cells = (_cell(row, key, count > 1) for key in COLUMNS)
        lines.append(f"{name:22s}{''.join(f'{cell:>14s}' for cell in cells)}")
    comparison = f"{describe_gain(estimate['gain'])} the best simple fill"
    is_fitted = any(name in estimate["fills"] for name in FILLS if name != BASE)
    if is_fitted:
        lines.append(f"Best for the eye: {estimate['fill']}, {comparison}.")
    else:
        lines.append(f"The base fill is {comparison}.")
    if not is_better(estimate["gain"]):
        what, remedy = ("fit", "fit for longer, or hide less") if is_fitted else ("fill", "hide less")
        lines.append(f"The {what} does not beat the simple fills on this film; {remedy}.")
    if count == 1:
        lines.append("This estimate rests on one place only, so take it as a hint.")
    return "\n".join(lines)


def is_better(gain: float) -> bool:
    """Whether a gain in dB is above 0 when it is printed with one decimal."""
    return round(gain, 1) > 0


def describe_gain(gain: float) -> str:
    """A difference in dB, to be followed by what it is measured against; equal if it rounds to 0.0."""
    if round(gain, 1) == 0:
        return "as good as"
    return f"{abs(gain):.1f} dB {'better' if gain > 0 else 'worse'} than"


def _cell(row: Mapping[str, float | None], key: str, has_spread: bool) -> str:
    value, spread = row[key], row[f"{key}_spread"]
    if value is None or spread is None:
        return "-"
    return f"{value:.2f} ± {spread:.2f}" if has_spread else f"{value:.2f}"
