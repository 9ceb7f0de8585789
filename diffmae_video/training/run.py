"""A run's folder, and how far the run has come."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn
from torch.optim import Optimizer

from diffmae_video.errors import InputError
from diffmae_video.runtime.processes import Process
from diffmae_video.training.checkpoints import Checkpoints, Progress, load_model_weights, restore
from diffmae_video.training.engine import EngineOptions, build_engine

RECIPE, METRICS = "config.yaml", "metrics.jsonl"
VALIDATIONS, BAD_STEPS, BAD_VIDEOS = "validation.jsonl", "bad_steps.jsonl", "bad_videos.jsonl"


class Unfinished(NamedTuple):
    """A checkpoint that is being written: its step, and what was the best one before it."""

    step: int
    best_step: int
    best_cost: float | None
    best_loss: float | None


class Measured(NamedTuple):
    """A validation's cost, and its loss, which decides between models of the same cost."""

    cost: float
    loss: float


@dataclass
class Run:
    """A run's folder, and how far the run has come."""

    output: Path  # the folder
    process: Process
    checkpoints: Checkpoints  # those in the folder
    resumed_from: Path | None  # the checkpoint that the run continues from; None at its beginning
    state: Progress  # how far it has come
    saved_step: int = 0  # the newest step whose checkpoint is known to be complete; 0 if there is none
    unfinished: Unfinished | None = None  # the checkpoint that is being written

    @classmethod
    def open(cls, output: Path, resume: bool, keep: int, process: Process) -> Run:
        """Starts a run, or with ``resume`` continues the folder's run from its newest whole checkpoint.

        Args:
            keep: how many of the newest checkpoints stay.

        Raises:
            InputError: the folder already holds a run, and ``resume`` is not set.
        """
        checkpoints = Checkpoints(output / "checkpoints", keep, process)
        if not resume and ((output / METRICS).exists() or checkpoints.steps()):
            raise InputError(
                f"{output}: already holds a run; continue it with --resume, give another --output, or delete "
                "the folder"
            )
        return cls(output, process, checkpoints, checkpoints.newest() if resume else None, Progress())

    def build_engine(self, model: nn.Module, optimizer: Optimizer, options: EngineOptions) -> Any:
        """The engine of a model; a resumed run's weights and optimizer state are loaded."""
        if self.resumed_from is not None:
            load_model_weights(model, self.resumed_from, self.process)
        engine = build_engine(model, optimizer, self.process, options)
        if self.resumed_from is not None:
            self.state = restore(engine, self.resumed_from, self.process)
            self.saved_step = self.state.step
            if self.process.is_main:
                print(f"continues after step {self.state.step}, from {self.resumed_from}", flush=True)
        self.state.processes, self.state.precision = self.process.world, options.precision
        self.state.zero_stage = options.zero_stage
        return engine

    def is_best(self, measured: Measured) -> bool:
        """Whether a validation is the best one so far; all processes must call it.

        The lowest cost is best, and of several the one with the lowest loss. Among all that are equal, or if
        the earlier loss was not stored (in old checkpoints), the first one stays.
        """
        self.finish_save()  # if the best model's checkpoint failed, it does not count
        state = self.state
        if state.best_cost is None or measured.cost != state.best_cost:
            return state.best_cost is None or measured.cost < state.best_cost
        return state.best_loss is not None and measured.loss < state.best_loss

    def start_save(self, engine: Any, measured: Measured | None) -> None:
        """Starts to write a checkpoint of the current step, while training goes on.

        Args:
            measured: this step's validation, if there was one. Only a model that was saved counts as the
                best one.
        """
        self.finish_save()
        state = self.state
        best_before = state.best_step, state.best_cost, state.best_loss
        if measured is not None and self.is_best(measured):
            state.best_step, state.best_cost, state.best_loss = state.step, measured.cost, measured.loss
        self.checkpoints.start_save(engine, state)
        self.unfinished = Unfinished(state.step, *best_before)

    def finish_save(self) -> None:
        """Waits until the last checkpoint is written, if one is being written; all processes must call it."""
        if self.unfinished is None:
            return
        unfinished, self.unfinished = self.unfinished, None
        if self.checkpoints.finish_save():
            self.saved_step = unfinished.step
        else:
            _, self.state.best_step, self.state.best_cost, self.state.best_loss = unfinished
