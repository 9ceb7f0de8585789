"""Fits a model to one film: it learns from the film's known parts to fill the hole in it."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from fvcore.common.config import CfgNode

from diffmae_video.build import build_model
from diffmae_video.config import load_config
from diffmae_video.data import training_loader
from diffmae_video.decoding import VideoReader
from diffmae_video.errors import InputError
from diffmae_video.files import write_text
from diffmae_video.film.base_fill import BaseFill
from diffmae_video.film.fit_windows import Colours, FitLoss, FitWindows
from diffmae_video.film.fitted_film import FittedFilm
from diffmae_video.film.held_out import SCENES, Place, choose_places, hold_out
from diffmae_video.film.holes import Hole
from diffmae_video.film.rehearsals import (
    draw_rehearsals,
    fill_rehearsals,
    fill_scene,
    measured_base_fill,
)
from diffmae_video.film.scan import ScannedFilm, scan_film
from diffmae_video.film.scene import Scene
from diffmae_video.film.scene_filler import BASE, FILLS
from diffmae_video.film.scene_windows import WindowShape
from diffmae_video.film.timed_plan import FitLength, TimedPlan
from diffmae_video.models import PretrainingModel, load_model
from diffmae_video.models.masked_autoencoder import MaskedAutoencoder
from diffmae_video.models.pretrained import AVERAGED_WEIGHTS, CONFIG, WEIGHTS
from diffmae_video.runtime.device import default_device, for_sampling
from diffmae_video.runtime.processes import start_process
from diffmae_video.runtime.progress import ProgressBar
from diffmae_video.tokens import grid_of
from diffmae_video.training.engine import resolve_precision
from diffmae_video.training.from_config import engine_options, loop_options
from diffmae_video.training.log import forget_after
from diffmae_video.training.loop import TrainingLoop
from diffmae_video.training.optimizer import build_optimizer
from diffmae_video.training.run import METRICS, Run

RECIPE = "film/fit"
DESCRIPTION = "fit.json"
SCENES_FOLDER = "scenes"
REFERENCES = 2  # time steps of a window that lie far away
SHORTEST, LONGEST = 60.0, 600.0  # seconds of a fit whose length is not given
SECONDS_PER_MEGAPIXEL = 90.0  # of a fit, for each million hidden pixels of the film
SAMPLED_WINDOWS = 32  # from which the size of corrections is measured
SAMPLED_FRAMES = 32  # of each scene, from which colours are measured


class FitPlan(NamedTuple):
    """What :func:`fit_film` is going to do.

    Attributes:
        frames: how many frames have something to fill.
        rehearsals: how many other holes are filled to learn from; 0 if there is nothing left to learn.
        length: of the whole fit.
        spent: seconds of it that are over.
    """

    frames: int
    rehearsals: int
    length: FitLength
    spent: float


class FitProgress:
    """How far a fit is.

    Attributes:
        step: steps taken.
        seconds: time spent, over all starts of this fit.
        share: how much of the fit is done, 0 to 1.
    """

    def __init__(self, step: int, seconds: float, share: float, preview: Callable[[int], np.ndarray]) -> None:
        self.step, self.seconds, self.share, self._preview = step, seconds, share, preview

    def preview(self, number: int) -> np.ndarray:
        """A frame of the film, filled by the model as it is now: uint8 [H, W, 3]."""
        return self._preview(number)


def fit_film(
    video: VideoReader,
    hole: Hole,
    folder: Path,
    length: FitLength | None = None,
    recipe: str = RECIPE,
    init: Path | None = None,
    on_progress: Callable[[FitProgress], None] | None = None,
    on_plan: Callable[[FitPlan], None] | None = None,
) -> FittedFilm:
    """Fits a model to a film, or goes on with a fit that was begun, or takes one that is done.

    What the hole hides is neither an input nor a target, and is not even kept.

    Args:
        video: the film.
        hole: what is hidden.
        folder: the fit's own folder, a run's folder with ``fit.json``. A fit of the same film, hole and
            recipe that is already there goes on until it has had the ``length`` in all.
        length: how long to fit; None chooses by the film's size, see :func:`default_length`. After a length
            of 0 there is the base fill only, which learns nothing.
        recipe: a recipe of configs/film/.
        init: folder of a DiffMAE with rotary positions to start from.
        on_progress: is called before every step. If it raises, the fit ends; a later call goes on from the
            last checkpoint.
        on_plan: is called once, as soon as it is known what there is to do.

    Raises:
        InputError: the hole hides nothing or everything, or ``init`` is of another kind.
        RunEnded: a signal stopped the fit; the same call goes on with it.
    """
    arrays = folder / SCENES_FOLDER
    film = scan_film(video, hole, arrays)
    if length is None:
        length = default_length(film)
    places = _choose_places(film)
    held_out = [arrays / f"scene{number:04d}-held-out.npy" for number in range(len(places))]
    shown = list(map(hold_out, film.scenes, places, held_out))
    mean, std = _colours(shown)
    cfg = load_config(recipe, ["DATA.MEAN", [v / 255 for v in mean], "DATA.STD", [v / 255 for v in std]])
    model = _new_model(cfg, recipe)
    shape = window_shape(recipe)
    begun = _begun(
        folder, {"digest": film.digest, "recipe": recipe, "init": None if init is None else str(init)}
    )
    is_done = not length or (
        "shares" in begun and (folder / WEIGHTS).is_file() and length.share(*_spent(folder)) == 1
    )
    if on_plan is not None:
        frames = sum(int(frame.any()) for scene in film.scenes for frame in scene.hidden)
        spent = _spent(folder)[1]
        on_plan(FitPlan(frames, 0 if is_done else length.rehearsals(), length, spent))
    rehearsals = draw_rehearsals(shown, film.scenes, length.rehearsals(), cfg.TRAIN.SEED)
    if "shares" in begun:
        base_fill = BaseFill(np.array(begun["shares"]), begun["unsure"])
    else:
        base_fill = measured_base_fill(rehearsals)
    filled = [arrays / f"scene{number:04d}-filled.npy" for number in range(len(places))]
    film = replace(
        film, scenes=[fill_scene(base_fill, *each) for each in zip(film.scenes, filled, strict=True)]
    )
    if not is_done:
        rehearsals = fill_rehearsals(base_fill, rehearsals, arrays)
    data = FitWindows(rehearsals, shape, Colours(tuple(mean), tuple(std), 1.0), cfg.TRAIN.SEED)
    if not length:
        return FittedFilm(model, video, hole, film, shown, places, base_fill, shape, data.colours, (BASE,))
    if "shares" in begun:
        data.colours = replace(data.colours, correction=begun["correction"])
    else:
        data.measure_corrections(SAMPLED_WINDOWS)
        begun |= {"shares": base_fill.shares.tolist(), "unsure": base_fill.unsure}
        begun |= {"correction": data.colours.correction}
        write_text(folder / DESCRIPTION, json.dumps(begun, indent=2) + "\n")
    if init is not None:
        start_from(model, init)
    fitted = FittedFilm(model, video, hole, film, shown, places, base_fill, shape, data.colours, FILLS)
    if not is_done:
        _train(cfg, fitted, data, folder, length, on_progress)
    is_bf16 = resolve_precision("auto", default_device()) == "bf16"
    fitted.model = for_sampling(load_model(folder), "bf16" if is_bf16 else "fp32")
    return fitted


def window_shape(recipe: str) -> WindowShape:
    """The windows of a recipe's model.

    Raises:
        InputError: there is no such recipe, or its sizes do not fit together.
    """
    cfg = load_config(recipe)
    patch = (cfg.MODEL.PATCH[0], cfg.MODEL.PATCH[1], cfg.MODEL.PATCH[2])
    grid = grid_of((cfg.DATA.NUM_FRAMES, cfg.DATA.SIZE[0], cfg.DATA.SIZE[1]), patch)
    return WindowShape(grid, patch, REFERENCES)


def default_length(film: ScannedFilm) -> FitLength:
    """How long a film is fitted by default: longer the more it hides, within limits (our choice)."""
    hidden = sum(int(frame.sum()) for scene in film.scenes for frame in scene.hidden)
    seconds = min(LONGEST, max(SHORTEST, SECONDS_PER_MEGAPIXEL * hidden / 1e6))
    return FitLength(30.0 * round(seconds / 30))


def _choose_places(film: ScannedFilm) -> list[list[Place]]:
    """The places that are held out of each scene, for the estimate; only of the longest scenes."""
    rng = np.random.default_rng(0)
    longest = sorted(range(len(film.scenes)), key=lambda i: -film.scenes[i].num_frames)[:SCENES]
    return [choose_places(s, rng) if i in longest else [] for i, s in enumerate(film.scenes)]


def _new_model(cfg: CfgNode, recipe: str) -> MaskedAutoencoder:
    torch.manual_seed(cfg.TRAIN.SEED)
    model = build_model(cfg)
    if not isinstance(model, MaskedAutoencoder):
        raise InputError(
            f"--recipe {recipe}: MODEL.OBJECTIVE must be diffmae or mae, got {cfg.MODEL.OBJECTIVE}"
        )
    model.predict_zero()
    return model


def _train(
    cfg: CfgNode,
    fitted: FittedFilm,
    data: FitWindows,
    folder: Path,
    length: FitLength,
    on_progress: Callable[[FitProgress], None] | None,
) -> None:
    process = start_process(cfg.TRAIN.PATIENCE)
    run = Run.open(folder, True, cfg.CHECKPOINT.KEEP, process)
    precision = resolve_precision(cfg.TRAIN.PRECISION, process.device)
    model = fitted.model
    optimizer = build_optimizer(
        model, cfg.TRAIN.WEIGHT_DECAY, tuple(cfg.TRAIN.BETAS), kind=cfg.TRAIN.OPTIMIZER
    )
    engine = run.build_engine(model, optimizer, engine_options(cfg, precision))
    forget_after(folder / METRICS, run.state.step)
    spent = _spent(folder)[1]
    with ProgressBar(total=100, desc="fitting", unit=" %") as bar:

        def on_step(step: int, elapsed: float) -> None:
            bar.update(round(100 * length.share(step, elapsed)) - bar.n)
            if on_progress is not None:
                on_progress(FitProgress(step, elapsed, length.share(step, elapsed), fitted.preview))

        plan = TimedPlan(
            length, spent, cfg.TRAIN.BATCH_SIZE, cfg.TRAIN.BASE_LR, cfg.TRAIN.WARMUP_STEPS, on_step
        )
        loader = training_loader(
            data, cfg.TRAIN.BATCH_SIZE, cfg.DATA.WORKERS, process.rank, process.world, start=run.state.samples
        )
        loss = FitLoss(engine, process.device, cfg.TRAIN.SEED)
        TrainingLoop(run, engine, plan, loss, loop_options(cfg)).train(loader, recipe=cfg.dump())


def start_from(model: PretrainingModel, init: Path) -> None:
    """Loads the weights of another model of the same shape into a model.

    Raises:
        InputError: the other model has other layers.
    """
    weights = load_model(init).state_dict()
    own = model.state_dict()
    wrong = [k for k, v in own.items() if k not in weights or weights[k].shape != v.shape]
    if wrong or len(weights) != len(own):
        example = wrong[0] if wrong else "it has more of them"
        raise InputError(
            f"--checkpoint {init}: its layers differ from the recipe's ({example}); use it as it is, with "
            "--fit 0, or fit a new model without --checkpoint"
        )
    model.load_state_dict(weights)


def _colours(scenes: Sequence[Scene]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of known pixels, in levels of 255."""
    sums, squares, count = np.zeros(3), np.zeros(3), 0
    for scene in scenes:
        for frame in np.unique(np.linspace(0, scene.num_frames - 1, SAMPLED_FRAMES).round().astype(int)):
            pixels = scene.pixels[frame][~scene.hidden[frame]].astype(np.float64)
            sums, squares, count = sums + pixels.sum(0), squares + (pixels**2).sum(0), count + len(pixels)
    if not count:
        raise InputError("--mask: leaves nothing of the film to learn from; hide less")
    mean = sums / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 1.0))
    return mean.tolist(), std.tolist()


def _begun(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """The description of the fit in a folder; just ``asked`` if it is another fit, which is then deleted."""
    try:
        described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        described = None
    if isinstance(described, dict) and all(described.get(name) == value for name, value in asked.items()):
        return described
    for name in (DESCRIPTION, METRICS, CONFIG, WEIGHTS, AVERAGED_WEIGHTS):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return asked


def _spent(folder: Path) -> tuple[int, float]:
    """How many steps a fit has taken and logged, and how many seconds they took."""
    try:
        lines = (folder / METRICS).read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0, 0.0
    steps, seconds = 0, 0.0
    for line in lines:
        with contextlib.suppress(ValueError, KeyError):
            seconds += json.loads(line)["step_ms"] / 1000
            steps += 1
    return steps, seconds
