"""A video or picture filled in, as files: the films, those of the steps, and the figures."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from diffmae_video.data import open_video
from diffmae_video.encoding.writers import ENDINGS, keeps_sound, open_film, sound_codecs
from diffmae_video.errors import InputError
from diffmae_video.files import write_text
from diffmae_video.inpainting.film.canvas import Canvas
from diffmae_video.inpainting.film.film_filler import FilmFiller, SamplerOptions
from diffmae_video.inpainting.film.film_scores import FilmScores
from diffmae_video.inpainting.film.holes import open_hole
from diffmae_video.masks import MASKS
from diffmae_video.models import MaskedAutoencoder, load_model
from diffmae_video.runtime.progress import ProgressBar


def inpaint_film(
    checkpoint: Path,
    source: Path,
    target: Path,
    mask: str | None = None,
    ratio: float | None = None,
    sampling: SamplerOptions = SamplerOptions(),  # noqa: B008 - immutable
    tiles: bool = False,
    crf: int = 12,
) -> dict[str, Any]:
    """Fills the hole of a film and writes all that tools/inpaint.py says, each file whole or not at all.

    Args:
        checkpoint: folder of a DiffMAE or an MAE.
        source, target: the film or picture, and the first sample's file.
        mask: as tools/inpaint.py takes it; None for the model's own kind.
        ratio: of a kind of mask; None for the model's own.
        sampling, tiles: how to fill.
        crf: quality of mp4 and WebM.

    Returns:
        The figures of :meth:`~diffmae_video.inpainting.film.film_scores.FilmScores.result`, ``fps``, ``size``
        [height, width], how it was filled, and ``seconds`` that it took, in all and for a second of the film.

    Raises:
        InputError: a file or a figure is not what is needed, or nothing is hidden.
        OSError: a file cannot be written.
    """
    started = time.perf_counter()
    if target.suffix.lower() not in ENDINGS:
        raise InputError(f"--output {target}: the ending must be one of {', '.join(ENDINGS)}")
    model = load_renderer(checkpoint)
    with contextlib.ExitStack() as stack:
        video = stack.enter_context(open_video(source, "pyav"))
        canvas = Canvas.of((video.height, video.width), model.encoder.grid, model.patch, tiles)
        kind = model.mask["kind"] if mask is None else mask
        ratio = model.mask["ratio"] if ratio is None else ratio
        hole = stack.enter_context(
            contextlib.closing(open_hole(kind, ratio, model, canvas, video, sampling.seed))
        )
        fill = FilmFiller(model, video, hole, sampling)
        scores = FilmScores(sampling.samples, fill.patch[0], *fill.joints())
        outputs = sample_paths(target, sampling.samples)
        _check_outputs([source, Path(kind)], [*outputs, *([target.with_suffix("")] * (video.num_frames > 1))])
        codecs = sound_codecs(source) if video.num_frames > 1 else []
        sound = source if codecs and keeps_sound(target, codecs) else None
        if codecs and sound is None:
            print(
                f"the sound ({', '.join(codecs)}) is left out: {target.suffix} does not hold it",
                file=sys.stderr,
            )
        times = video.times
        films = [stack.enter_context(open_film(p, video.fps, crf, times, sound, like=video)) for p in outputs]
        steps = []
        if sampling.keeps_steps:
            steps = [
                stack.enter_context(open_film(p, video.fps, crf, times, light=True, like=video))
                for p in step_paths(target, fill.timesteps)
            ]
        for frame in ProgressBar(
            fill, total=video.num_frames, desc="inpainting", unit=" frames", leave=False
        ):
            scores.add(frame)
            for write, picture in zip(films, frame.samples, strict=True):
                write(picture)
            for write, picture in zip(steps, frame.steps):  # noqa: B905 - there are none to take
                write(picture)
        if not scores.hidden:
            raise InputError(f"--mask {kind}: hides nothing of {source}; paint in white what is to be filled")
        fps, size = video.fps, [video.height, video.width]
    seconds = time.perf_counter() - started
    result = {
        "input": str(source),
        "output": str(target),
        "fps": fps,
        "size": size,
        "mask": kind,
        **({"mask_ratio": ratio} if kind in MASKS and kind != "center" else {}),
        "model": type(model).__name__,
        "tiles": tiles,
        "seed": sampling.seed,
        "sampler": sampling.sampler,
        "timesteps": fill.timesteps,
        **scores.result(),
        "seconds": round(seconds, 2),
        "seconds_per_second": round(seconds / (scores.frames / fps), 3),
    }
    write_text(target.with_suffix(".json"), json.dumps(result, indent=2) + "\n")
    return result


def load_renderer(checkpoint: Path) -> MaskedAutoencoder:
    """A model that fills, on a GPU if there is one.

    Raises:
        InputError: the folder's model does not fill, or its fill cannot be shown.
    """
    model = load_model(checkpoint)
    if not isinstance(model, MaskedAutoencoder):
        raise InputError(f"{checkpoint}: a {type(model).__name__} does not inpaint; give a DiffMAE or an MAE")
    if model.normalize_target:
        raise InputError(
            f"{checkpoint}: this model predicts patches normalised one by one, which cannot be rendered"
        )
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def sample_paths(target: Path, samples: int) -> list[Path]:
    """The samples' files: the target, and beside it ``stem-2``, ``stem-3`` and so on."""
    return [target, *(target.with_stem(f"{target.stem}-{k}") for k in range(2, samples + 1))]


def step_paths(target: Path, timesteps: list[int]) -> list[Path]:
    """The steps' files, by their timestep."""
    folder = target.with_name(f"{target.stem}-steps")
    return [folder / f"t{t:04d}{target.suffix}" for t in timesteps]


def _check_outputs(inputs: list[Path], outputs: list[Path]) -> None:
    taken = {path.resolve() for path in inputs if path.exists()}
    for path in outputs:
        if path.suffix and path.is_dir():
            raise InputError(f"--output {path}: is a folder; give another path")
        if path.resolve() in taken:
            raise InputError(f"--output {path} would replace what it is made of; give another path")
