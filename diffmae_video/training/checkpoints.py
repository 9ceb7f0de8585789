"""Checkpoints that are either complete or absent, and that hold only numbers.

    OUTPUT/checkpoints/step_00000123/
        config.json  model.safetensors       the model in float32, for ``load_model``
        exp_avg.safetensors  ...             AdamW's moments by parameter name; ema if the run keeps one
        state.json                           see :class:`Progress`
        manifest.json                        size and SHA-256 of every other file

Every parameter is stored whole and under its name, so that a run can continue with any number of processes
and at any ZeRO stage. DeepSpeed's own checkpoints are split by process and stage, and they are pickles,
which run code when they are read. Here files are opened by name and read only as JSON or safetensors; a
pickle under one of these names is refused, and any other file is ignored.

No random state is stored: every draw follows from the seed and the step or sample, see
:class:`~diffmae_video.training.loop.TrainingLoop`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open

from diffmae_video.errors import InputError
from diffmae_video.files import flush_folder, write_tensors, write_text
from diffmae_video.models.pretrained import AVERAGED_WEIGHTS, CONFIG, WEIGHTS, load_weights
from diffmae_video.runtime.processes import Process
from diffmae_video.training.sharded_state import (
    EMA,
    MOMENTS,
    MOMENTUM,
    WEIGHT,
    adam_steps,
    gather,
    loss_scale,
    scatter,
    set_adam_steps,
    set_loss_scale,
    untrained,
)

STATE, MANIFEST = "state.json", "manifest.json"
MAY_CHANGE = ("dropout", "drop_path")  # arguments of a model that a resumed run may change
NAME = re.compile(r"step_(\d{8})")


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        step: optimizer steps taken, including skipped ones.
        samples: positions of the data stream that have been read, over all processes.
        epoch: of the next sample.
        best_step, best_cost: the step with the lowest validation cost so far (see
            :class:`~diffmae_video.training.loop.Validating`), and that cost; step 0 means none.
        adam_steps: steps that were not skipped.
        loss_scale: state of fp16's loss scale.
        processes, zero_stage, precision: of the start that wrote it, for information.
    """

    step: int = 0
    samples: int = 0
    epoch: int = 0
    best_step: int = 0
    best_cost: float | None = None
    adam_steps: int = 0
    loss_scale: dict[str, float] = dataclasses.field(default_factory=dict)
    processes: int = 1
    zero_stage: int = 0
    precision: str = "fp32"


class Checkpoints:
    """The checkpoints of a run.

    Args:
        folder: OUTPUT/checkpoints, on a disk that all processes see.
        keep: how many of the newest checkpoints stay. The best one stays too.
    """

    def __init__(self, folder: Path, keep: int, process: Process) -> None:
        self.folder, self.keep, self.process = folder, keep, process

    def steps(self) -> list[int]:
        """The steps of all checkpoints, complete or not, ascending."""
        names = (NAME.fullmatch(path.name) for path in self.folder.glob("step_*"))
        return sorted(int(name[1]) for name in names if name)

    def path(self, step: int) -> Path:
        return self.folder / f"step_{step:08d}"

    def newest(self) -> Path | None:
        """The newest complete checkpoint; all processes must call it. Reports each damaged one in a line."""
        step_found = torch.zeros((), dtype=torch.int64, device=self.process.device)
        if self.process.is_main:
            for step in reversed(self.steps()):
                reason = problem(self.path(step))
                if reason is None:
                    step_found.fill_(step)
                    break
                _warn(f"{self.path(step)}: damaged ({reason}); using the one before it")
        if self.process.world > 1:
            dist.broadcast(step_found, 0)
        return self.path(int(step_found)) if step_found else None

    def save(self, engine: Any, state: Progress) -> bool:
        """Writes a checkpoint and deletes old ones; all processes must call it.

        Returns:
            False if it could not be written. A line says why, and the other checkpoints stay as they were.
        """
        state.adam_steps, state.loss_scale = adam_steps(engine), loss_scale(engine)
        aside = self.folder / f".{self.path(state.step).name}.tmp"
        failure: Exception | None = None
        if self.process.is_main:
            try:
                self._clear()
                aside.mkdir(parents=True)
            except OSError as error:
                failure = error
        rest = untrained(engine)
        for key in (WEIGHT, *optimizer_keys(engine)):
            tensors = gather(engine, key)
            if not self.process.is_main or failure is not None:
                for _ in tensors:  # other processes need this one to gather
                    pass
                continue
            whole = dict(tensors)
            if key in (WEIGHT, EMA):  # a model's file also holds what is not trained
                whole = rest | whole
            try:
                write_tensors(aside / file_of(key), whole)
            except OSError as error:
                failure = error
        if self.process.is_main and failure is None:
            try:
                self._finish(engine, aside, state)
            except OSError as error:
                failure = error
        if failure is not None:
            shutil.rmtree(aside, ignore_errors=True)
            earlier = self.steps()
            last = f"the checkpoint of step {earlier[-1]} is kept" if earlier else "there is no earlier one"
            reason = " ".join(str(failure).split())
            _warn(f"the checkpoint of step {state.step} could not be written ({reason}); {last}")
        is_written = torch.tensor(int(failure is None), device=self.process.device)
        if self.process.world > 1:
            dist.broadcast(is_written, 0)
        return bool(is_written)

    def _finish(self, engine: Any, aside: Path, state: Progress) -> None:
        config = {"model": type(engine.module).__name__, **engine.module._hub_mixin_config}
        write_text(aside / CONFIG, json.dumps(config, indent=2) + "\n")
        write_text(aside / STATE, json.dumps(dataclasses.asdict(state), indent=2) + "\n")
        manifest = {
            path.name: {"size": path.stat().st_size, "sha256": sha256(path)} for path in aside.iterdir()
        }
        write_text(aside / MANIFEST, json.dumps(manifest, indent=2) + "\n")
        final = self.path(state.step)
        if final.exists():  # it was damaged, or the run would have continued from it
            shutil.rmtree(final)
        aside.rename(final)
        flush_folder(self.folder)
        # A checkpoint of a later step was damaged when the run was resumed; it does not count.
        earlier = [s for s in self.steps() if s <= state.step and s != state.best_step]
        for step in earlier[: -self.keep]:
            shutil.rmtree(self.path(step))

    def _clear(self) -> None:
        for unfinished in self.folder.glob(".step_*.tmp"):  # from a run that was killed
            shutil.rmtree(unfinished)


def optimizer_keys(engine: Any) -> Iterable[str]:
    """What the optimizer keeps for parameters besides their weights."""
    kept = {key for state in engine.basic_optimizer.state.values() for key in state}
    return [key for key in (*MOMENTS, MOMENTUM, EMA) if key in kept]


def file_of(key: str) -> str:
    return {WEIGHT: WEIGHTS, EMA: AVERAGED_WEIGHTS}.get(key, f"{key}.safetensors")


def problem(folder: Path) -> str | None:
    """Why a checkpoint is damaged; None if it is complete."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        for name in {CONFIG, STATE, *(file_of(key) for key in (WEIGHT, *MOMENTS))} | manifest.keys():
            if name not in manifest:
                return f"{name} is not in {MANIFEST}"
            path, size = folder / name, (folder / name).stat().st_size
            if size != manifest[name]["size"]:
                return f"{name} has {size} bytes instead of {manifest[name]['size']}"
            if sha256(path) != manifest[name]["sha256"]:
                return f"{name} has changed since it was written: its SHA-256 differs"
            if path.suffix == ".safetensors":
                with safe_open(path, "pt"):
                    pass
        read_progress(folder)
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except SafetensorError as error:
        return f"{name} is not a safetensors file: {error}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def read_progress(folder: Path) -> Progress:
    return Progress(**json.loads((folder / STATE).read_text(encoding="utf-8")))


def load_model_weights(model: Any, folder: Path) -> None:
    """Loads a checkpoint's weights into a model that has no engine yet.

    Raises:
        InputError: the checkpoint is of a different model.
    """
    own = {name: list(value.shape) for name, value in model.state_dict().items()}
    with safe_open(folder / WEIGHTS, "pt") as file:
        there = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    different = sorted(name for name in own.keys() | there.keys() if own.get(name) != there.get(name))
    if not different:  # compare arguments too: weights of four heads fit a model of two
        there = flat_arguments(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
        own = flat_arguments({"model": type(model).__name__, **model._hub_mixin_config})
        different = sorted(name for name in own.keys() & there.keys() if own[name] != there[name])
    if different:
        name = different[0]
        raise InputError(
            f"{folder}: its model does not match the recipe's: {name} is {there.get(name)} instead of "
            f"{own.get(name)}; give the options of the run that wrote it (and --init, if it had one), or "
            "another --output"
        )
    load_weights(model, folder / WEIGHTS)


def flat_arguments(config: Any, name: str = "") -> dict[str, Any]:
    """A model's arguments as in config.json, by dotted name, without those that a resumed run may change."""
    if not isinstance(config, dict):
        return {name: json.loads(json.dumps(config))}
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if key not in MAY_CHANGE:
            flat |= flat_arguments(value, f"{name}.{key}" if name else key)
    return flat


def restore(engine: Any, folder: Path) -> Progress:
    """Loads a checkpoint's optimizer state into an engine; all processes must call it.

    The engine's model already has the checkpoint's weights.

    Raises:
        InputError: the run that wrote the checkpoint had another optimizer, or no moving average.
    """
    state = read_progress(folder)
    keys = (WEIGHT, *optimizer_keys(engine))
    writer = "muon" if (folder / file_of(MOMENTUM)).is_file() else "adamw"
    if (writer == "muon") != (MOMENTUM in keys):
        raise InputError(
            f"{folder}: was written with TRAIN.OPTIMIZER {writer}; set it so, or give another --output"
        )
    for key in keys:
        path = folder / file_of(key)
        if not path.is_file():
            raise InputError(f"{folder}: has no {path.name}; set TRAIN.EMA 0, as in the run that wrote it")
        with safe_open(path, "pt") as file:
            scatter(engine, key, file.get_tensor)
    set_adam_steps(engine, state.adam_steps)
    set_loss_scale(engine, state.loss_scale)
    return state


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def _warn(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr, flush=True)
