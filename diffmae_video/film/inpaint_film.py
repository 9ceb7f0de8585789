"""Inpaints a video or a picture from file to file: the filled films, those of the steps, and the scores."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from diffmae_video.data import VideoReader, open_video
from diffmae_video.encoding.writers import ENDINGS, open_film
from diffmae_video.errors import InputError
from diffmae_video.files import is_there, write_text
from diffmae_video.film.canvas import Canvas
from diffmae_video.film.estimate_table import describe_estimate
from diffmae_video.film.film_filler import FilledFrame, FilmFiller, SamplerOptions
from diffmae_video.film.film_scores import FilmScores
from diffmae_video.film.fit import DESCRIPTION, FitPlan, fit_film, window_shape
from diffmae_video.film.holes import REMEDY, Hole, HoleEdits, open_hole
from diffmae_video.film.scene_filler import BASE
from diffmae_video.film.timed_plan import FitLength
from diffmae_video.mask_kinds import MASKS, OWN_SHARE
from diffmae_video.models import PretrainingModel, load_inpainter
from diffmae_video.runtime.device import for_sampling

SPEED = "all but learning takes about a minute on one core for 64 frames of 432 x 240"
DRAWN_RATIO = 0.5  # of a drawn mask, where no model says which
LIMITS = {"samples": (1, 100), "seed": (0, 2**32 - 1), "crf": (0, 51)}
NOTE = (
    "psnr, flicker and gradient_ratio compare the fill with what the input shows in the hole; if you want "
    "that removed, they do not measure the quality of the fill"
)


class FitRequest(NamedTuple):
    """A fit of a model to the film that is filled.

    Attributes:
        length: how long; None for a time that suits the film.
        recipe: in configs/film/.
        fill: ``base``, ``first``, ``mean`` or ``sample``; ``auto`` for the one that the estimate prefers.
    """

    length: FitLength | None
    recipe: str
    fill: str


class _Filling(NamedTuple):
    """How a film is filled.

    Attributes:
        frames: the filled frames, in order.
        scores: an empty account of them.
        timesteps: of the sampler; empty if no model takes part.
        facts: what the JSON file says about it.
    """

    frames: Iterable[FilledFrame]
    scores: FilmScores
    timesteps: list[int]
    facts: dict[str, Any]


def inpaint_film(
    checkpoint: Path | None,
    source: Path,
    output: str,
    mask: str | None,
    mask_ratio: float | None,
    edits: HoleEdits,
    options: SamplerOptions,
    tiles: bool,
    crf: int,
    fps: float | None,
    fit: FitRequest | None = None,
) -> dict[str, Any]:
    """Fills the hole of a film and writes the files that diffmae inpaint describes, none of them in part.

    Args:
        checkpoint: the folder of a DiffMAE or an MAE; with ``fit``, one to start from, or None.
        source: a video, a picture or a folder of frames.
        output: the file or the folder of frames for the first sample; the others are named after it.
        mask: as diffmae inpaint takes it; None for the kind that the model was trained on.
        mask_ratio: the share that a drawn mask hides; None for the model's own.
        edits: what to change about a mask that is given.
        options: how to sample.
        tiles: keep the frames' size and tile them with clips, instead of resizing them.
        crf: quality of mp4 and WebM, 0 (best) to 51.
        fps: frames per second of a folder of frames; None for the reader's default.
        fit: fit a model to the film first, and keep it beside the output.

    Returns:
        What the JSON file holds: the input and the options, ``files``, the films and folders that were
        written, the scores of
        :meth:`~diffmae_video.film.film_scores.FilmScores.result`, and ``seconds``, the time that
        it took in all and for each second of the film. ``model``, ``fitted`` (the fit's folder), ``sampler``
        and ``timesteps`` are None if the base fill is made and nothing is learnt. ``reference`` is "truth"
        if the hole is a kind of mask, as in training. A user's own hole may hide something to be removed:
        then it is "input", and ``note`` says what this means for the scores.

    Raises:
        InputError: a file or an option is wrong, or the mask hides nothing.
        OSError: a file cannot be written.
    """
    started = time.perf_counter()
    for name, value in (("samples", options.samples), ("seed", options.seed), ("crf", crf)):
        low, high = LIMITS[name]
        if not low <= value <= high:
            raise InputError(f"--{name} must be from {low} to {high}, got {value}")
    if fps is not None and not source.is_dir():
        raise InputError(f"--fps is for a folder of frames, and {source} has its own frame rate")
    is_folder, target = is_frames_folder(output), target_path(output)
    if target.suffix.lower() not in ENDINGS:
        raise InputError(f"--output {output}: the ending must be one of {', '.join(ENDINGS)}, or none")
    model = None if fit is not None else _load(checkpoint, options.precision)
    shape: Any = window_shape(fit.recipe) if fit is not None else model
    kind, ratio = _mask_to_fill(mask, mask_ratio, model)
    with contextlib.ExitStack() as stack:
        video = stack.enter_context(open_video(source, "pyav", fps=fps))
        canvas = Canvas.for_film((video.height, video.width), shape.grid, shape.patch, tiles or model is None)
        hole = open_hole(kind, ratio, shape, canvas, video, options.seed, edits)
        stack.callback(hole.close)
        outputs = sample_paths(target, options.samples)
        if is_folder and video.num_frames == 1:
            outputs = [path.with_suffix("") / "00000.png" for path in outputs]
        _check_outputs([source, Path(kind)], outputs, video.num_frames)
        if model is not None:
            filling = _with_model(model, video, hole, options)
        else:
            assert fit is not None
            if fit.length is not None and not fit.length and not fit_folder(target).exists():
                stack.callback(shutil.rmtree, fit_folder(target), ignore_errors=True)  # nothing was learnt
            filling = _with_fit(fit, checkpoint, target, video, hole, options)
        sound = source if video.num_frames > 1 else None
        fps, times = video.fps, video.times
        films = [stack.enter_context(open_film(p, fps, crf, times, sound, like=video)) for p in outputs]
        steps, folders = [], []
        if options.keeps_steps:
            paths = step_paths(target, filling.timesteps)
            folders = [f"{paths[0].parent}/"]
            steps = [
                stack.enter_context(open_film(p, fps, crf, times, light=True, like=video)) for p in paths
            ]
        scores = filling.scores
        for frame in filling.frames:
            scores.add(frame)
            for write, picture in zip(films, frame.samples, strict=True):
                write(picture)
            for write, picture in zip(steps, frame.steps):  # noqa: B905 - without --save-steps, take none
                write(picture)
        if not scores.hidden:
            raise InputError(f"--mask {kind}: hides nothing of {source}; {REMEDY}")
    seconds, is_drawn = time.perf_counter() - started, kind in MASKS
    result = {
        "input": str(source),
        "output": output,
        "files": [*(_as_written(p, is_folder, scores.frames) for p in outputs), *folders],
        "fps": fps,
        "size": [video.height, video.width],
        "mask": kind,
        **({"mask_ratio": ratio} if is_drawn and kind not in OWN_SHARE else {}),
        **{name: value for name, value in edits._asdict().items() if value},
        **filling.facts,
        "tiles": tiles,
        "seed": options.seed,
        "sampler": options.sampler if filling.timesteps else None,
        "timesteps": filling.timesteps or None,
        **({"reference": "truth"} if is_drawn else {"reference": "input", "note": NOTE}),
        **scores.result(),
        "seconds": round(seconds, 2),
        "seconds_per_second": round(seconds / (scores.frames / fps), 3),
    }
    write_text(scores_path(target), json.dumps(result, indent=2) + "\n")
    return result


def _load(checkpoint: Path | None, precision: str) -> PretrainingModel:
    assert checkpoint is not None
    if (checkpoint / DESCRIPTION).is_file():
        raise InputError(
            f"--checkpoint {checkpoint}: was fitted to a film and fills only with --fit, for example --fit 5m"
        )
    return for_sampling(load_inpainter(checkpoint), precision)


def _mask_to_fill(mask: str | None, ratio: float | None, model: PretrainingModel | None) -> tuple[str, float]:
    """The mask and the share that it hides if it is drawn: as asked, or else as the model was trained."""
    if model is None:
        if mask is None:
            raise InputError("--mask: say what to fill; only a model given by --checkpoint has a default")
        return mask, DRAWN_RATIO if ratio is None else ratio
    assert model.mask is not None  # an inpainter is trained on masks
    return (
        model.mask["kind"] if mask is None else mask,
        model.mask["ratio"] if ratio is None else ratio,
    )


def _with_model(model: PretrainingModel, video: VideoReader, hole: Hole, options: SamplerOptions) -> _Filling:
    filler = FilmFiller(model, video, hole, options)
    scores = FilmScores(options.samples, model.patch[0], *filler.joints())
    return _Filling(filler, scores, filler.timesteps, {"model": type(model).__name__})


def _with_fit(
    fit: FitRequest,
    checkpoint: Path | None,
    target: Path,
    video: VideoReader,
    hole: Hole,
    options: SamplerOptions,
) -> _Filling:
    """Fits a model, prints the plan and the estimate, and chooses the fill."""
    if options.keeps_steps:
        raise InputError("--save-steps is for a film that is filled with --checkpoint and without --fit")
    folder = fit_folder(target)
    if fit.length is not None and not fit.length and fit.fill not in ("auto", BASE):
        raise InputError(f"--fill {fit.fill}: needs a model that learnt, and --fit 0 learns nothing")
    fitted = fit_film(video, hole, folder, fit.length, fit.recipe, checkpoint, on_plan=_print_plan)
    estimate = fitted.estimate(options.sampler, options.steps)
    print(describe_estimate(estimate), flush=True)
    fill = estimate["fill"] if fit.fill == "auto" else fit.fill
    facts: dict[str, Any] = {"model": None, "fitted": None, "fill": fill, "estimate": estimate}
    timesteps: list[int] = []
    if fitted.has_learnt:
        facts |= {"model": type(fitted.model).__name__, "fitted": str(folder)}
        timesteps = fitted.model.sampling_timesteps(options.steps)
    frames = fitted.frames(fill, options.samples, options.sampler, options.steps, options.seed)
    scores = FilmScores(options.samples, fitted.shape.patch[0], (), ())
    return _Filling(frames, scores, timesteps, facts)


def _print_plan(plan: FitPlan) -> None:
    """Says on stderr what is going to be done, and that more than learning takes time."""
    is_film = plan.frames > 1
    work = f"fills {plan.frames} frames along the optical flow" if is_film else "fills 1 frame"
    if not plan.length:
        work += " and measures the fill, without learning"
    elif not plan.rehearsals:
        work += " and by the fitted model, and measures both"
    else:
        over = f" ({plan.spent:.0f} s are over)" if plan.spent else ""
        work += f", and {plan.rehearsals} rehearsals, then learns for {plan.length}{over}"
        work += ", then measures the fills"
    print(f"{work}; {SPEED}" if is_film else work, file=sys.stderr, flush=True)


def fit_folder(target: Path) -> Path:
    """Where the model that is fitted for an output is kept: ``stem-fit`` beside it."""
    return target.with_name(f"{target.stem}-fit")


def is_frames_folder(output: str) -> bool:
    """Whether --output names a folder of PNG frames: a path without an ending, or a folder that is there."""
    path = Path(output)
    known = path.suffix.lower() in ENDINGS
    return output.endswith("/") or not path.suffix or (path.is_dir() and not known)


def target_path(output: str) -> Path:
    """The file that --output stands for, with an ending: film.png for the folder of frames film/."""
    return Path(f"{Path(output)}.png") if is_frames_folder(output) else Path(output)


def sample_paths(target: Path, samples: int) -> list[Path]:
    """The files of the samples: the target, and ``stem-2``, ``stem-3`` and so on beside it."""
    return [target, *(target.with_stem(f"{target.stem}-{k}") for k in range(2, samples + 1))]


def step_paths(target: Path, timesteps: list[int]) -> list[Path]:
    """The files of the steps, named by their timestep."""
    folder = target.with_name(f"{target.stem}-steps")
    return [folder / f"t{t:04d}{target.suffix}" for t in timesteps]


def _as_written(path: Path, is_folder: bool, num_frames: int) -> str:
    """How to name an output. For PNG frames, open_film takes film.png and writes into the folder film/."""
    if is_folder and num_frames == 1:
        return f"{path.parent}/"
    return f"{path.with_suffix('')}/" if path.suffix.lower() == ".png" and num_frames > 1 else str(path)


def scores_path(target: Path) -> Path:
    """``stem.json`` beside the target, or ``stem.mp4.json`` if the former describes another output."""
    path = target.with_suffix(".json")
    try:
        other = target_path(json.loads(path.read_text(encoding="utf-8"))["output"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not there, or not ours
        return path
    return path if other.name == target.name else target.with_name(f"{target.name}.json")


def _check_outputs(inputs: list[Path], outputs: list[Path], num_frames: int) -> None:
    taken = {path.resolve() for path in inputs if is_there(path)}
    for path in outputs:
        if path.is_dir():
            raise InputError(f"--output {path}: is a folder; give another path")
        written = path.with_suffix("") if path.suffix.lower() == ".png" and num_frames > 1 else path
        if written.resolve() in taken:
            raise InputError(f"--output {written} would replace one of the inputs; give another path")
