"""Checkpoints that are whole or not there, and that hold nothing but numbers.

    OUTPUT/checkpoints/step_00000123/
        config.json  model.safetensors       the model in float32, for ``load_model``
        exp_avg.safetensors  ...             AdamW's moments by parameter name; ema if there is one
        state.json                           see :class:`State`
        manifest.json                        size and SHA-256 of every other file

All values are whole and stand under their parameter's name, so that any number of processes and any
ZeRO stage can go on from them. The format is ours: DeepSpeed's own checkpoints are split by process
and stage, and pickled, so that to read one is to run what it says. Here files are opened by name and
read as JSON or safetensors alone; a pickle under one of the names is refused, under another not seen.

The random states are not there since a run has none: see :func:`~diffmae_video.training.loop.train`.
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
from diffmae_video.training.state import (
    EMA,
    MOMENTS,
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
MAY_CHANGE = ("dropout", "drop_path")  # of a model's arguments, when a run goes on
NAME = re.compile(r"step_(\d{8})")


@dataclass
class State:
    """Where a run stands.

    Attributes:
        step: optimizer steps that are done, skipped ones included.
        samples: places of the data stream that are done, over all processes.
        epoch: of the next sample.
        best_step, best_cost: of the lowest cost in validation so far (see
            :class:`~diffmae_video.training.loop.Validating`); step 0 is none.
        adam_steps: steps that were not skipped.
        loss_scale: of fp16.
        processes, zero_stage, precision: of the run that wrote it, for people.
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
        folder: OUTPUT/checkpoints, which all processes see.
        keep: the newest ones that stay; the best one stays too.
    """

    def __init__(self, folder: Path, keep: int, process: Process) -> None:
        self.folder, self.keep, self.process = folder, keep, process

    def steps(self) -> list[int]:
        """The steps of all that is there, whole or not, ascending."""
        names = (NAME.fullmatch(path.name) for path in self.folder.glob("step_*"))
        return sorted(int(name[1]) for name in names if name)

    def path(self, step: int) -> Path:
        return self.folder / f"step_{step:08d}"

    def newest(self) -> Path | None:
        """The newest whole checkpoint; all processes must ask. One that is not whole costs a line."""
        found = torch.zeros((), dtype=torch.int64, device=self.process.device)
        if self.process.is_main:
            for step in reversed(self.steps()):
                reason = problem(self.path(step))
                if reason is None:
                    found.fill_(step)
                    break
                _warn(f"{self.path(step)}: not whole ({reason}); the one before it is taken")
        if self.process.world > 1:
            dist.broadcast(found, 0)
        return self.path(int(found)) if found else None

    def save(self, engine: Any, state: State) -> bool:
        """Writes a checkpoint beside the others, and lets old ones go; all processes must call it.

        Returns:
            False if it could not be written: a line says why, and the others are as they were.
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
        for key in (WEIGHT, *kept(engine)):
            tensors = gather(engine, key)
            if not self.process.is_main or failure is not None:
                for _ in tensors:  # takes part in the gathering
                    pass
                continue
            whole = dict(tensors)
            if key in (WEIGHT, EMA):  # all that a model's file has: what is not trained too
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
            there = self.steps()
            last = f"that of step {there[-1]} stays" if there else "there is none before it"
            reason = " ".join(str(failure).split())
            _warn(f"the checkpoint of step {state.step} could not be written, {last}: {reason}")
        is_written = torch.tensor(int(failure is None), device=self.process.device)
        if self.process.world > 1:
            dist.broadcast(is_written, 0)
        return bool(is_written)

    def _finish(self, engine: Any, aside: Path, state: State) -> None:
        config = {"model": type(engine.module).__name__, **engine.module._hub_mixin_config}
        write_text(aside / CONFIG, json.dumps(config, indent=2) + "\n")
        write_text(aside / STATE, json.dumps(dataclasses.asdict(state), indent=2) + "\n")
        manifest = {
            path.name: {"size": path.stat().st_size, "sha256": sha256(path)} for path in aside.iterdir()
        }
        write_text(aside / MANIFEST, json.dumps(manifest, indent=2) + "\n")
        final = self.path(state.step)
        if final.exists():  # it was not whole, or the run would have gone on from it
            shutil.rmtree(final)
        aside.rename(final)
        flush_folder(self.folder)
        # A later step can be there: it was not whole when the run went on. It does not count.
        earlier = [s for s in self.steps() if s <= state.step and s != state.best_step]
        for step in earlier[: -self.keep]:
            shutil.rmtree(self.path(step))

    def _clear(self) -> None:
        for left in self.folder.glob(".step_*.tmp"):  # of a run that was killed
            shutil.rmtree(left)


def kept(engine: Any) -> Iterable[str]:
    """What AdamW keeps of a parameter, beside its weight."""
    state = next(iter(engine.basic_optimizer.state.values()))
    return (*MOMENTS, EMA) if EMA in state else MOMENTS


def file_of(key: str) -> str:
    return {WEIGHT: WEIGHTS, EMA: AVERAGED_WEIGHTS}.get(key, f"{key}.safetensors")


def problem(folder: Path) -> str | None:
    """Why a checkpoint is not whole; None if it is."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        for name in {CONFIG, STATE, *(file_of(key) for key in (WEIGHT, *MOMENTS))} | manifest.keys():
            if name not in manifest:
                return f"{name} is not in {MANIFEST}"
            path, size = folder / name, (folder / name).stat().st_size
            if size != manifest[name]["size"]:
                return f"{name} has {size} bytes and not {manifest[name]['size']}"
            if sha256(path) != manifest[name]["sha256"]:
                return f"{name} is not what was written: its SHA-256 is another"
            if path.suffix == ".safetensors":
                with safe_open(path, "pt"):
                    pass
        read_state(folder)
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except SafetensorError as error:
        return f"{name} is no safetensors file: {error}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def read_state(folder: Path) -> State:
    return State(**json.loads((folder / STATE).read_text(encoding="utf-8")))


def load_model_weights(model: Any, folder: Path) -> None:
    """The weights of a checkpoint, into a model that no engine has yet.

    Raises:
        InputError: they are those of another model.
    """
    own = {name: list(value.shape) for name, value in model.state_dict().items()}
    with safe_open(folder / WEIGHTS, "pt") as file:
        there = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    different = sorted(name for name in own.keys() | there.keys() if own.get(name) != there.get(name))
    if not different:  # arguments too: weights of four heads fit a model of two
        there = flat_arguments(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
        own = flat_arguments({"model": type(model).__name__, **model._hub_mixin_config})
        different = sorted(name for name in own.keys() & there.keys() if own[name] != there[name])
    if different:
        name = different[0]
        raise InputError(
            f"{folder}: of another model than the recipe's: {name} is {there.get(name)} and not "
            f"{own.get(name)}; give the options of the run that wrote it (and --init, if it had one), or "
            "another --output"
        )
    load_weights(model, folder / WEIGHTS)


def flat_arguments(config: Any, name: str = "") -> dict[str, Any]:
    """A model's arguments as config.json has them, by dotted name, but for what may change in mid-run."""
    if not isinstance(config, dict):
        return {name: json.loads(json.dumps(config))}
    found: dict[str, Any] = {}
    for key, value in config.items():
        if key not in MAY_CHANGE:
            found |= flat_arguments(value, f"{name}.{key}" if name else key)
    return found


def restore(engine: Any, folder: Path) -> State:
    """The rest of a checkpoint, into an engine whose model has its weights; all processes must call it.

    Raises:
        InputError: a moving average is asked for, and the checkpoint has none.
    """
    state = read_state(folder)
    for key in (WEIGHT, *kept(engine)):
        path = folder / file_of(key)
        if not path.is_file():
            raise InputError(f"{folder}: holds no {path.name}; set TRAIN.EMA 0, as in the run that wrote it")
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
