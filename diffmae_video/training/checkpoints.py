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

import dataclasses
import json
import re
import shutil
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from torch import Tensor

from diffmae_video.errors import InputError
from diffmae_video.files import flush_folder
from diffmae_video.models.pretrained import AVERAGED_WEIGHTS, CONFIG, WEIGHTS, load_weights
from diffmae_video.runtime.processes import Process
from diffmae_video.training.hashed_files import sha256, write_float32, write_parts
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
    """How far a run has come."""

    step: int = 0  # optimizer steps taken, including skipped ones
    samples: int = 0  # positions of the data stream that have been read, over all processes
    epoch: int = 0  # of the next sample
    # best_step, best_cost, best_loss: the step with the best validation so far (see Run.is_best), its cost
    # (see Validating) and its loss; step 0 means none
    best_step: int = 0
    best_cost: float | None = None
    best_loss: float | None = None
    adam_steps: int = 0  # steps that were not skipped
    loss_scale: dict[str, float] = dataclasses.field(default_factory=dict)  # state of fp16's loss scale
    # processes, zero_stage, precision: of the start that wrote it, for information
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
        self.writing: Writing | None = None  # on the main process, between start_save and finish_save

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
        self.start_save(engine, state)
        return self.finish_save()

    def start_save(self, engine: Any, state: Progress) -> None:
        """Copies a checkpoint to the main process's memory, which writes it while training goes on.

        All processes must call it, and then :meth:`finish_save` before the next one.
        """
        state.adam_steps, state.loss_scale = adam_steps(engine), loss_scale(engine)
        rest, is_main = untrained(engine), self.process.is_main
        files: dict[str, dict[str, Tensor]] = {}
        for key in (WEIGHT, *optimizer_keys(engine)):
            whole = dict(gather(engine, key, keep=is_main))
            # A model's file also holds what is not trained.
            files[file_of(key)] = rest | whole if key in (WEIGHT, EMA) else whole
        if is_main:
            config = {"model": type(engine.module).__name__, **engine.module._hub_mixin_config}
            self.writing = Writing(self, files, config, dataclasses.replace(state))

    def finish_save(self) -> bool:
        """Waits until the checkpoint is written; all processes must call it. See :meth:`save`."""
        is_written = torch.tensor(int(self.settle()), device=self.process.device)
        if self.process.world > 1:
            dist.broadcast(is_written, 0)
        return bool(is_written)

    def settle(self) -> bool:
        """Waits, in this process alone, until nothing is being written; False if writing failed."""
        if self.writing is None:
            return True
        self.writing.join()
        writing, self.writing = self.writing, None
        return writing.succeeded

    def write(self, files: dict[str, dict[str, Tensor]], config: dict[str, Any], state: Progress) -> bool:
        """Writes a checkpoint and deletes old ones, on the main process; returns what :meth:`save` does."""
        aside = self.folder / f".{self.path(state.step).name}.tmp"
        try:
            self._clear()
            aside.mkdir(parents=True)
            manifest = {name: write_float32(aside / name, tensors) for name, tensors in files.items()}
            for name, values in ((CONFIG, config), (STATE, dataclasses.asdict(state))):
                manifest[name] = write_parts(aside / name, [_json(values)])
            write_parts(aside / MANIFEST, [_json(manifest)])
            self._publish(aside, state)
        except OSError as error:
            shutil.rmtree(aside, ignore_errors=True)
            earlier = self.steps()
            last = f"the checkpoint of step {earlier[-1]} is kept" if earlier else "there is no earlier one"
            reason = " ".join(str(error).split())
            _warn(f"the checkpoint of step {state.step} could not be written ({reason}); {last}")
            return False
        return True

    def _publish(self, aside: Path, state: Progress) -> None:
        final = self.path(state.step)
        if final.exists():  # it was damaged, or the run would have continued from it
            shutil.rmtree(final)
        flush_folder(aside)
        aside.rename(final)
        flush_folder(self.folder)
        # A checkpoint of a later step was damaged when the run was resumed; it does not count.
        earlier = [s for s in self.steps() if s <= state.step and s != state.best_step]
        for step in earlier[: -self.keep]:
            shutil.rmtree(self.path(step))

    def _clear(self) -> None:
        for unfinished in self.folder.glob(".step_*.tmp"):  # from a run that was killed
            shutil.rmtree(unfinished)


class Writing(threading.Thread):
    """The writing of a checkpoint. The process does not end before it is done.

    Attributes:
        succeeded: whether the checkpoint was written, once the thread has ended.
    """

    def __init__(self, checkpoints: Checkpoints, *arguments: Any) -> None:
        super().__init__(name="checkpoint")
        self.checkpoints, self.arguments = checkpoints, arguments
        self.succeeded = False
        self.start()

    def run(self) -> None:
        self.succeeded = self.checkpoints.write(*self.arguments)
        self.arguments = ()  # frees the copy of the tensors


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


def load_model_weights(model: Any, folder: Path, process: Process) -> None:
    """Loads a checkpoint's weights into a model that has no engine yet; all processes must call it.

    The main process reads them and sends them to the others.

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
    if process.is_main:
        load_weights(model, folder / WEIGHTS)
    if process.world > 1:
        for value in model.state_dict().values():
            sent = value.to(process.device)
            dist.broadcast(sent, 0)
            value.copy_(sent)


def flat_arguments(config: Any, name: str = "") -> dict[str, Any]:
    """A model's arguments as in config.json, by dotted name, without those that a resumed run may change."""
    if not isinstance(config, dict):
        return {name: json.loads(json.dumps(config))}
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if key not in MAY_CHANGE:
            flat |= flat_arguments(value, f"{name}.{key}" if name else key)
    return flat


def restore(engine: Any, folder: Path, process: Process) -> Progress:
    """Loads a checkpoint's optimizer state into an engine; all processes must call it.

    The engine's model already has the checkpoint's weights. The main process reads each tensor and sends it
    to the others, so that a shared disk is read once and not by every process.

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

            def read(name: str, file: Any = file) -> Tensor:
                if process.world == 1:
                    return file.get_tensor(name)
                value = torch.empty(file.get_slice(name).get_shape(), device=process.device)
                if process.is_main:
                    value.copy_(file.get_tensor(name))
                dist.broadcast(value, 0)
                return value

            scatter(engine, key, read)
    set_adam_steps(engine, state.adam_steps)
    set_loss_scale(engine, state.loss_scale)
    return state


def _json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()


def _warn(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr, flush=True)
