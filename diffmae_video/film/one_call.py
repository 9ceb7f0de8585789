"""Filling a film in one call: ``diffmae_video.inpaint``, and what ``diffmae inpaint`` runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffmae_video.data.mask_colours import parse_instances
from diffmae_video.film.film_filler import SamplerOptions
from diffmae_video.film.holes import HoleEdits
from diffmae_video.film.inpaint_film import FitRequest, inpaint_film
from diffmae_video.film.timed_plan import FitLength
from diffmae_video.hub import local_weights

FITTED, AS_IT_IS = ("dpm++", 10), ("ddim", 50)  # sampler and steps


def inpaint(
    film: str | Path,
    mask: str | Path | None,
    output: str | Path,
    *,
    checkpoint: str | Path | None = None,
    fit: str | float | None = None,
    recipe: str = "film/fit",
    fill: str = "auto",
    dilate: int = 0,
    feather: int = 0,
    instances: str | int | None = None,
    invert: bool = False,
    mask_ratio: float | None = None,
    samples: int = 1,
    seed: int = 0,
    sampler: str | None = None,
    steps: int | None = None,
    save_steps: bool = False,
    tiles: bool = False,
    precision: str = "auto",
    fps: float | None = None,
    crf: int = 12,
) -> dict[str, Any]:
    """Fills a hole in a film or picture and writes the result, as ``diffmae inpaint`` does.

    Without a checkpoint, a model is fitted to the film first, unless ``fit`` is 0. It is kept beside the
    output for the next call with the same film and mask. A progress bar and the fit's estimate are printed.

    Args:
        film: a video, a picture or a folder of frames.
        mask: what to fill. A box is ``"x,y,w,h"`` in pixels, or ``"x,y,w,h,t0,t1"`` from second t0 up to t1.
            A picture, a video or a folder of pictures shows it in white. ``"random"`` and other kinds of mask
            are drawn; None, with a checkpoint, draws the kind that the model was trained on.
        output: an .mp4, .webm, .gif or .png file, or a folder for PNG frames.
        checkpoint: the folder of a DiffMAE or an MAE, or its name on the Hugging Face hub.
        fit: how long to fit a model, such as ``"90s"``, ``"5m"`` or ``"300steps"``; a number is in seconds.
            0 without a checkpoint makes the base fill, which learns nothing. None: a time that suits the
            film, or with a checkpoint no fit.
        recipe: of the fit, ``"film/fit"``, ``"film/fine"`` or a file.
        fill: ``"base"``, or which prediction of a fitted model to take: ``"first"``, ``"mean"``,
            ``"sample"``, or ``"auto"`` for the one that does best on known places.
        dilate: pixels by which the hole grows.
        feather: pixels around the hole in which the fill fades into the film.
        instances: numbers (``"1,3"``, or 2) or colours of the objects in the mask; None for all.
        invert: fill what the mask does not hide.
        mask_ratio: the share that a drawn mask hides; None for the model's own.
        samples: number of fills; the second is written to ``stem-2``, and so on.
        seed: of noise and drawn masks.
        sampler: ``"ddpm"``, ``"ddim"`` or ``"dpm++"``. None: dpm++ after a fit, else ddim.
        steps: sampling steps. None: 10 after a fit, else 50.
        save_steps: also write the prediction of each step; only with a checkpoint and no fit.
        tiles: keep the frames' size instead of resizing them to the model's.
        precision: of the weights: ``"bf16"``, ``"fp32"``, or ``"auto"`` for bf16 on a GPU.
        fps: frames per second of a folder of frames.
        crf: quality of mp4 and WebM, 0 (best) to 51.

    Returns:
        What the JSON file beside the output holds: the options, the scores and, after a fit, ``fill`` and
        the ``estimate`` on known places. ``diffmae inpaint --help`` explains the scores.

    Raises:
        InputError: a file or an option is wrong, or the mask hides nothing.
        OSError: a file cannot be written.
    """
    length = None if fit is None else FitLength.parse(fit)
    is_fitted = checkpoint is None or bool(length)
    usual_sampler, usual_steps = FITTED if is_fitted else AS_IT_IS
    options = SamplerOptions(
        usual_sampler if sampler is None else sampler,
        usual_steps if steps is None else steps,
        seed,
        samples,
        save_steps,
        precision,
    )
    objects = () if instances is None else parse_instances(str(instances))
    return inpaint_film(
        None if checkpoint is None else local_weights(checkpoint),
        Path(film),
        str(output),
        None if mask is None else str(mask),
        mask_ratio,
        HoleEdits(objects, invert, dilate, feather),
        options,
        tiles,
        crf,
        fps,
        FitRequest(length, recipe, fill) if is_fitted else None,
    )
