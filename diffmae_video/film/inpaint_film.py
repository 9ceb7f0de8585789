"""Inpaints a video or a picture from file to file: the filled films, those of the steps, and the scores."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

from diffmae_video.data import open_video
from diffmae_video.encoding.writers import ENDINGS, open_film
from diffmae_video.errors import InputError
from diffmae_video.files import write_text
from diffmae_video.film.canvas import Canvas
from diffmae_video.film.film_filler import FilmFiller, SamplerOptions
from diffmae_video.film.film_scores import FilmScores
from diffmae_video.film.holes import REMEDY, HoleEdits, open_hole
from diffmae_video.masks import MASKS
from diffmae_video.models import load_inpainter
from diffmae_video.runtime.device import for_sampling

LIMITS = {"samples": (1, 100), "seed": (0, 2**32 - 1), "crf": (0, 51)}
NOTE = (
    "psnr, flicker and gradient_ratio compare the fill with what the input shows in the hole; if you want "
    "that removed, they do not measure the quality of the fill"
)


def inpaint_film(
    checkpoint: Path,
    source: Path,
    output: str,
    mask: str | None,
    mask_ratio: float | None,
    edits: HoleEdits,
    options: SamplerOptions,
    tiles: bool,
    crf: int,
    fps: float | None,
) -> dict[str, Any]:
    """Fills the hole of a film and writes the files that tools/inpaint.py describes, none of them in part.

    Args:
        checkpoint: the folder of a DiffMAE or an MAE.
        source: a video, a picture or a folder of frames.
        output: the file or the folder of frames for the first sample; the others are named after it.
        mask: as tools/inpaint.py takes it; None for the kind that the model was trained on.
        mask_ratio: the share that a drawn mask hides; None for the model's own.
        edits: what to change about a mask that is given.
        options: how to sample.
        tiles: keep the frames' size and tile them with clips, instead of resizing them.
        crf: quality of mp4 and WebM, 0 (best) to 51.
        fps: frames per second of a folder of frames; None for the reader's default.

    Returns:
        What the JSON file holds: the input and the options, the scores of
        :meth:`~diffmae_video.film.film_scores.FilmScores.result`, and ``seconds``, the time that
        it took in all and for each second of the film. ``reference`` is "truth" if the hole is a kind of
        mask, as in training. A user's own hole may hide something to be removed: then it is "input", and
        ``note`` says what this means for the scores.

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
    model = for_sampling(load_inpainter(checkpoint), options.precision)
    assert model.mask is not None  # an inpainter is trained on masks
    kind = model.mask["kind"] if mask is None else mask
    ratio = model.mask["ratio"] if mask_ratio is None else mask_ratio
    with contextlib.ExitStack() as stack:
        video = stack.enter_context(open_video(source, "pyav", fps=fps))
        canvas = Canvas.for_film((video.height, video.width), model.grid, model.patch, tiles)
        hole = open_hole(kind, ratio, model, canvas, video, options.seed, edits)
        stack.callback(hole.close)
        filler = FilmFiller(model, video, hole, options)
        scores = FilmScores(options.samples, model.patch[0], *filler.joints())
        outputs = sample_paths(target, options.samples)
        if is_folder and video.num_frames == 1:
            outputs = [path.with_suffix("") / "00000.png" for path in outputs]
        _check_outputs([source, Path(kind)], outputs, video.num_frames)
        sound = source if video.num_frames > 1 else None
        fps, times = video.fps, video.times
        films = [stack.enter_context(open_film(p, fps, crf, times, sound, like=video)) for p in outputs]
        steps = []
        if options.keeps_steps:
            paths = step_paths(target, filler.timesteps)
            steps = [
                stack.enter_context(open_film(p, fps, crf, times, light=True, like=video)) for p in paths
            ]
        for frame in filler:
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
        "fps": fps,
        "size": [video.height, video.width],
        "mask": kind,
        **({"mask_ratio": ratio} if is_drawn and kind != "center" else {}),
        **{name: value for name, value in edits._asdict().items() if value},
        "model": type(model).__name__,
        "tiles": tiles,
        "seed": options.seed,
        "sampler": options.sampler,
        "timesteps": filler.timesteps,
        **({"reference": "truth"} if is_drawn else {"reference": "input", "note": NOTE}),
        **scores.result(),
        "seconds": round(seconds, 2),
        "seconds_per_second": round(seconds / (scores.frames / fps), 3),
    }
    write_text(scores_path(target), json.dumps(result, indent=2) + "\n")
    return result


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


def scores_path(target: Path) -> Path:
    """``stem.json`` beside the target, or ``stem.mp4.json`` if the former describes another output."""
    path = target.with_suffix(".json")
    try:
        other = target_path(json.loads(path.read_text(encoding="utf-8"))["output"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not there, or not ours
        return path
    return path if other.name == target.name else target.with_name(f"{target.name}.json")


def _check_outputs(inputs: list[Path], outputs: list[Path], num_frames: int) -> None:
    taken = {path.resolve() for path in inputs if path.exists()}
    for path in outputs:
        if path.is_dir():
            raise InputError(f"--output {path}: is a folder; give another path")
        written = path.with_suffix("") if path.suffix.lower() == ".png" and num_frames > 1 else path
        if written.resolve() in taken:
            raise InputError(f"--output {written} would replace one of the inputs; give another path")
