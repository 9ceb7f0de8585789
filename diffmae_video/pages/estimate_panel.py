"""What a fit promises, on the page: how well it filled places of the film that are known."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from diffmae_video.film.estimate_table import describe_gain, is_better
from diffmae_video.pages.plain_words import detail_in_words, error_in_words

NAMES = {
    "base": "base fill, without learning",
    "first": "first prediction",
    "sample": "a sample",
    "mean": "mean of samples",
}
COLUMNS = (("psnr", "PSNR, dB"), ("gradient_ratio", "detail"), ("flicker", "flicker"))


def estimate_panel(estimate: Mapping[str, Any]) -> str:
    """An estimate as HTML: a sentence, and a table of all ways that were tried.

    Args:
        estimate: see :func:`diffmae_video.film.fit_estimate.estimate`.
    """
    if not estimate["places"]:
        return "<p>No place of the film is like the hole and known, so the fill cannot be measured.</p>"
    chosen, gain = estimate["fills"][estimate["fill"]], estimate["gain"]
    detail = chosen["gradient_ratio"]
    fineness = "" if detail is None else f" and {detail_in_words(detail)}"
    comparison = f"{describe_gain(gain)} the best simple way"
    places = "places of the film that are" if estimate["places"] > 1 else "one place of the film that is"
    sentence = (
        f"On {places} known, the fill is {error_in_words(chosen['psnr'])} "
        f"(PSNR {chosen['psnr']:.1f} dB){fineness}, which is {comparison}."
    )
    if not is_better(gain):
        sentence += " Give it more minutes, or paint less."
    heads = "".join(f'<th scope="col">{title}</th>' for _, title in COLUMNS)
    rows = "".join(
        f'<tr><th scope="row">{html.escape(NAMES.get(name, name))}</th>'
        + "".join(f"<td>{_figure(row[key])}</td>" for key, _ in COLUMNS)
        + "</tr>"
        for name, row in estimate["fills"].items()
    )
    return (
        f"<p>{sentence}</p><details><summary>All ways that were tried</summary><table><thead><tr>"
        f'<th scope="col">way</th>{heads}</tr></thead><tbody>{rows}</tbody></table>'
        "<p>Detail and flicker are relative to the film’s own; 1 is right.</p></details>"
    )


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
