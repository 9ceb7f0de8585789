"""The training loop: steps, logs, checkpoints and stops, for any model and any loss."""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DataLoader

from diffmae_video.data import FaultLog
from diffmae_video.data.random_clips import SampleKey
from diffmae_video.files import write_tensors, write_text
from diffmae_video.models.pretrained import AVERAGED_WEIGHTS
from diffmae_video.randomness import random_state
from diffmae_video.runtime.stops import FAILED, STOPPED, Agreement, StopSignals, end_run, shielded_batches
from diffmae_video.training.curves import Curves
from diffmae_video.training.engine import gathered, spread_non_finite, take_step
from diffmae_video.training.environment import record_environment
from diffmae_video.training.log import StepLog, forget_after
from diffmae_video.training.run import BAD_STEPS, BAD_VIDEOS, METRICS, RECIPE, VALIDATIONS, Measured, Run
from diffmae_video.training.sharded_state import EMA, model_weights, update_ema

COLLECT_EVERY = 200  # steps between garbage collections, which would otherwise stall ranks at random
NOT_DATA = 2**32 - 1  # marks keys of random states; those of data have the video's index in this place


class StepPlan(Protocol):
    """How long a run is; see the attributes of :class:`~diffmae_video.training.step_schedule.Plan`."""

    @property
    def to_continue(self) -> str: ...
    @property
    def planned_steps(self) -> int | None: ...
    @property
    def steps(self) -> int: ...
    @property
    def videos(self) -> int: ...
    @property
    def clips(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def rate(self) -> Callable[[int], float]: ...


class Validating(Protocol):
    """What a run measures on held-out clips; all processes call every method."""

    def measure(self, model: Any) -> dict[str, float]:
        """The figures of a model, ``loss`` among them, the same on every process."""

    def cost(self, figures: dict[str, float]) -> float:
        """The figure that is lowest for the best model; the loss decides between equal ones."""

    def picture(self, model: Any) -> np.ndarray | None:
        """What the model makes of a few clips, uint8 [h, w, 3]; None except on the main process."""


@dataclass(frozen=True)
class LoopOptions:
    """How a run steps, logs, saves and validates.

    Attributes:
        seed: of everything random in a step.
        batch_size: videos per process and forward pass.
        accumulation: forward passes per optimizer step.
        ema_decay: of the moving average of the weights; 0 keeps none.
        log_every: steps between writes to metrics.jsonl.
        save_every: steps between checkpoints; 0: not by steps.
        save_minutes: minutes between checkpoints; 0: not by time.
        validate_every: steps between validations; 0: only after the last step.
        max_bad_steps: steps in a row with a non-finite loss or gradient that end the run.
        max_bad_share: share of failed reads that ends the run.
        patience: minutes that a process waits for another one.
    """

    seed: int
    batch_size: int
    accumulation: int
    ema_decay: float
    log_every: int
    save_every: int
    save_minutes: float
    validate_every: int
    max_bad_steps: int
    max_bad_share: float
    patience: float

    @property
    def saves(self) -> str:
        """When checkpoints are written."""
        intervals = []
        if self.save_every:
            intervals.append("every step" if self.save_every == 1 else f"every {self.save_every} steps")
        if self.save_minutes:
            intervals.append(
                "every minute" if self.save_minutes == 1 else f"every {self.save_minutes:g} minutes"
            )
        return ", ".join([*intervals, "after the last step"])


class StepOutcome(NamedTuple):
    """How a step went.

    Attributes:
        is_complete: False if the run must stop before the step's last forward pass; its gradients are
            dropped, and the model is that of the step before.
        is_good: it is complete, and its loss and gradient were finite.
        must_stop: a signal asked a process to stop.
        is_save_time: the last checkpoint is long enough ago.
    """

    is_complete: bool
    is_good: bool
    must_stop: bool
    is_save_time: bool


class TrainingLoop:
    """Takes the remaining steps of a run's plan.

    Everything random in a step depends only on the seed and on the step or a sample's place in the stream
    of data. A resumed run therefore needs no random states to continue as if it had not stopped.

    Args:
        loss_of: the loss of a batch.
        validation: measured every ``validate_every`` steps and after the last one.
    """

    def __init__(
        self,
        run: Run,
        engine: Any,
        plan: StepPlan,
        loss_of: Callable[[Any], Tensor],
        options: LoopOptions,
        validation: Validating | None = None,
    ) -> None:
        self.run, self.engine, self.plan, self.loss_of = run, engine, plan, loss_of
        self.options, self.validation = options, validation
        self.process, self.state, self.output = run.process, run.state, run.output
        self.curves: Curves | None = None  # on the main process, while it trains
        self.peak_mb = 0

    def train(
        self,
        loader: DataLoader[Any],
        recipe: str,
        decode: Callable[[Iterator[Any]], Iterator[Any]] = iter,
    ) -> None:
        """Takes the remaining steps, and writes the trained model into the run's folder.

        Args:
            loader: endless, from the run's place in the stream on.
            recipe: text of config.yaml.
            decode: what is still to be done to the loader's batches, see
                :class:`~diffmae_video.data.device_decoding.DeviceDecoder`.

        Raises:
            RunEnded: the run ended before its last step, see :mod:`diffmae_video.runtime.stops`.
            OSError: the folder cannot be written to, or the disk is full.
        """
        metrics = self._open_folder(recipe)
        options, state = self.options, self.state
        faults = FaultLog(self.output / BAD_VIDEOS, options.max_bad_share, options.batch_size)
        bad_in_row, saved_at = 0, time.monotonic()

        def flags() -> tuple[bool, bool]:
            minutes = (time.monotonic() - saved_at) / 60
            return signals.seen, self.process.is_main and 0 < options.save_minutes <= minutes

        agreement = Agreement(self.process, options.patience, flags)
        with (
            StopSignals() as signals,
            StepLog(metrics, self.plan.planned_steps, state.step, options.log_every, self.curves) as log,
            collecting_seldom() as collect,
            shielded_batches(loader) as loaded,
            contextlib.ExitStack() as at_end,
        ):
            at_end.callback(self.run.checkpoints.settle)
            batches = faults.watch(decode(loaded))
            self.engine.train()
            while state.step < self.plan.steps:
                step = self._step(batches, log, agreement)
                if step.is_complete:
                    bad_in_row = 0 if step.is_good else bad_in_row + 1
                    collect(state.step)
                if bad_in_row >= options.max_bad_steps:
                    raise end_run(self.process, self._describe_bad_steps(bad_in_row), FAILED)
                is_last = state.step == self.plan.steps
                measured = None
                is_measured = is_last or (step.is_good and self._is_due(options.validate_every))
                if is_measured and not step.must_stop:
                    measured = self._validate()
                is_best = measured is not None and self.run.is_best(measured)
                is_due = step.is_save_time or is_best or self._is_due(options.save_every)
                if step.must_stop or is_last:
                    self.run.finish_save()
                must_save = is_last or (step.must_stop and self.run.saved_step < state.step)
                # A checkpoint after a bad step would push out the good ones from before it.
                if must_save or (is_due and step.is_good):
                    log.flush()
                    self.run.start_save(self.engine, measured)
                    saved_at = time.monotonic()
                if must_save:
                    self.run.finish_save()
                if step.must_stop and not is_last:
                    saved_step = self.run.saved_step
                    saved = f"step {saved_step} is saved" if saved_step else "no step is saved"
                    message = f"stopped by a signal; {saved}, {self.plan.to_continue}"
                    raise end_run(self.process, message, STOPPED if saved_step == state.step else FAILED)
        self._write_model()

    def _open_folder(self, recipe: str) -> Path:
        """Prepares the files that the run writes, and returns where this process logs its steps."""
        metrics = Path("/dev/null")
        if self.process.is_main:
            self.output.mkdir(parents=True, exist_ok=True)
            write_text(self.output / RECIPE, recipe)
            for name in (METRICS, VALIDATIONS, BAD_STEPS):
                forget_after(self.output / name, self.state.step)
            if self.run.resumed_from is None:
                (self.output / BAD_VIDEOS).unlink(missing_ok=True)  # of a start that failed
            metrics = self.output / METRICS
            self.curves = Curves(self.output, self.state.step if self.run.resumed_from else None)
        record_environment(self.output, self.process)
        return metrics

    def _is_due(self, every: int) -> bool:
        return every > 0 and self.state.step % every == 0

    def _step(self, batches: Iterator[Any], log: StepLog, agreement: Agreement) -> StepOutcome:
        """Takes one optimizer step, unless the run must stop before its last forward pass."""
        options, state = self.options, self.state
        started, waited = time.perf_counter(), 0.0
        rate = self.plan.rate(state.step)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        key = (options.seed, state.step, NOT_DATA, 1 + self.process.rank)
        torch.manual_seed(random_state(*key).initial_seed())  # for dropout and the like
        losses: list[Tensor] = []
        samples: list[SampleKey] = []
        for micro in range(options.accumulation):
            agreement.ask()
            before = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - before
            samples += batch.samples
            loss = self.loss_of(batch)
            losses.append(loss.detach())
            self.engine.backward(spread_non_finite(loss))
            result = take_step(self.engine)
            must_stop, is_save_time = agreement.answer()
            if must_stop and micro + 1 < options.accumulation:
                return StepOutcome(False, False, must_stop, is_save_time)
        if result.applied and options.ema_decay:
            update_ema(self.engine, warmed_up_decay(options.ema_decay, state.step))
        loss = torch.stack(losses).mean()
        is_good = result.applied or self._lowers_loss_scale(loss)
        state.step += 1
        if not is_good:
            self._note_bad_step(loss, samples)
        state.samples += self.plan.videos
        state.epoch = state.samples // self.plan.count
        if not self.peak_mb or state.step % options.log_every == 0:  # an allocator's statistics take time
            self.peak_mb = round(self.process.peak_mb())
        seconds = time.perf_counter() - started
        log.step(
            step=state.step,
            loss=loss,
            lr=rate,
            grad_norm=result.grad_norm if math.isfinite(result.grad_norm) else None,
            **({} if result.applied else {"skipped": True}),
            data_ms=round(1000 * waited, 2),
            step_ms=round(1000 * seconds, 2),
            clips_per_s=round(self.plan.clips / seconds, 2),
            memory_mb=self.peak_mb,
        )
        return StepOutcome(True, is_good, must_stop, is_save_time)

    def _lowers_loss_scale(self, loss: Tensor) -> bool:
        """Whether a step was skipped only because fp16 searches for its loss scale: the loss is finite."""
        if not self.engine.fp16_enabled():
            return False
        total = loss.clone()
        if self.process.world > 1:
            dist.all_reduce(total)
        return bool(total.isfinite())

    def _note_bad_step(self, loss: Tensor, samples: list[SampleKey]) -> None:
        """Records the samples of all processes, as (epoch, index in the list), after a non-finite step."""
        parts = [samples] * self.process.world
        if self.process.world > 1:
            dist.all_gather_object(parts, samples)
        if not self.process.is_main:
            return
        row = {
            "step": self.state.step,
            "loss": float(loss) if loss.isfinite() else None,
            "samples": [(key.epoch, key.row) for key in sorted(itertools.chain(*parts))],
        }
        with (self.output / BAD_STEPS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def _describe_bad_steps(self, count: int) -> str:
        return (
            f"error: step {self.state.step} is the last of {count} in a row whose loss or gradient is not "
            f"finite; {self.output / BAD_STEPS} names their samples. Lower the learning rate or clip the "
            "gradient, and continue with --resume"
        )

    def _validate(self) -> Measured | None:
        """Measures the model, and records the figures; None without a validation."""
        if self.validation is None:
            return None
        with gathered(self.engine) as model:
            figures, picture = self.validation.measure(model), self.validation.picture(model)
        measured = Measured(self.validation.cost(figures), figures["loss"])
        if self.options.ema_decay:
            with gathered(self.engine, EMA) as average:
                of_average = self.validation.measure(average)
            figures |= {f"ema_{name}": value for name, value in of_average.items()}
        if self.curves is not None:
            with (self.output / VALIDATIONS).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": self.state.step, **figures}) + "\n")
            self.curves.add_validation(self.state.step, figures)
            if picture is not None:
                self.curves.add_picture(self.state.step, picture)
        return measured

    def _write_model(self) -> None:
        """Writes the last step's model, and its moving average if there is one."""
        weights = model_weights(self.engine)
        if self.process.is_main:
            self.engine.module.save_pretrained(self.output, state_dict=weights)
        if self.options.ema_decay:
            average = model_weights(self.engine, EMA)
            if self.process.is_main:
                write_tensors(self.output / AVERAGED_WEIGHTS, average)


def warmed_up_decay(decay: float, step: int) -> float:
    """The decay of the moving average at a step, from 0: it rises from 0.1, and ``decay`` is its limit.

    The first steps would otherwise stay in the average of a short run for too long: after n steps it covers
    about the last tenth of them (source: TensorFlow's ExponentialMovingAverage).
    """
    return min(decay, (1 + step) / (10 + step))


@contextlib.contextmanager
def collecting_seldom() -> Iterator[Callable[[int], None]]:
    """Collects garbage every few steps, on all processes at once, instead of whenever Python sees fit."""

    def collect(step: int) -> None:
        if step % COLLECT_EVERY == 0:
            gc.collect()

    gc.disable()
    try:
        yield collect
    finally:
        gc.enable()
