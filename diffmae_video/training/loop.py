"""The loop of a run: steps, log, checkpoints and stops, for whatever has a loss."""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torch.utils.data import DataLoader

from diffmae_video.data import FaultLog
from diffmae_video.data.loader import EpochSampler
from diffmae_video.errors import InputError
from diffmae_video.files import write_tensors, write_text
from diffmae_video.models.pretrained import AVERAGED_WEIGHTS
from diffmae_video.randomness import random_state
from diffmae_video.runtime.processes import Process
from diffmae_video.runtime.stops import FAILED, STOPPED, Agreement, StopSignals, end_run, shielded_batches
from diffmae_video.training.checkpoints import Checkpoints, State, load_model_weights, restore
from diffmae_video.training.engine import build_engine, gathered, spread_non_finite, take_step
from diffmae_video.training.log import StepLog, forget_after
from diffmae_video.training.plan import Plan
from diffmae_video.training.records import Records, record_environment
from diffmae_video.training.state import EMA, model_weights, update_ema

METRICS, VALIDATIONS, BAD_STEPS = "metrics.jsonl", "validation.jsonl", "bad_steps.jsonl"
COLLECT_EVERY = 200  # steps between garbage collections, which would otherwise stall ranks at random
NOT_DATA = 2**32 - 1  # in keys of random states, where those of data have an index, which is never so large


class Validating(Protocol):
    """What is measured on held-out clips in mid-run; all processes call all of it."""

    def measure(self, model: Any) -> dict[str, float]:
        """The figures of a model, the same on every process."""

    def cost(self, figures: dict[str, float]) -> float:
        """What the best model has the least of."""

    def picture(self, model: Any) -> np.ndarray | None:
        """What the model makes of a few clips, uint8 [h, w, 3], on the main process."""


@dataclass
class Run:
    """A run's folder, and where in the run it is.

    Attributes:
        found: the checkpoint that it goes on from.
    """

    cfg: CfgNode
    output: Path
    process: Process
    checkpoints: Checkpoints
    found: Path | None
    state: State

    @classmethod
    def open(cls, cfg: CfgNode, output: Path, resume: bool, process: Process) -> Run:
        """A new run, or with ``resume`` that of the folder from its newest whole checkpoint.

        Raises:
            InputError: the folder holds a run, and it is not to go on.
        """
        checkpoints = Checkpoints(output / "checkpoints", cfg.CHECKPOINT.KEEP, process)
        if not resume and ((output / METRICS).exists() or checkpoints.steps()):
            raise InputError(
                f"{output}: holds a run already; go on with --resume, give another --output, or delete it"
            )
        found = checkpoints.newest() if resume else None
        return cls(cfg, output, process, checkpoints, found, State())

    def build_engine(self, model: nn.Module, optimizer: torch.optim.Optimizer, precision: str) -> Any:
        """The engine of a fresh model, or of this run's where it goes on."""
        if self.found is not None:
            load_model_weights(model, self.found)
        engine = build_engine(self.cfg, model, optimizer, self.process, precision)
        if self.found is not None:
            self.state = restore(engine, self.found)
            if self.process.is_main:
                print(f"goes on after step {self.state.step}, from {self.found}", flush=True)
        self.state.processes, self.state.precision = self.process.world, precision
        self.state.zero_stage = self.cfg.DEEPSPEED.ZERO_STAGE
        return engine

    def save(self, engine: Any) -> bool:
        """Writes a checkpoint of this step."""
        return self.checkpoints.save(engine, self.state)


def train(
    run: Run,
    engine: Any,
    loader: DataLoader[Any],
    plan: Plan,
    loss_of: Callable[[Any, Sequence[int]], Tensor],
    validation: Validating | None = None,
) -> None:
    """Takes the steps of a plan that are not done yet, and writes the model into the run's folder.

    All that is random in a step depends on the seed, the step or the sample's place in the stream, and
    nothing else, so that no random state has to be kept for a run to go on as if it had not stopped.

    Args:
        loader: endless, from the run's place on; of a dataset that has a length.
        loss_of: the loss of a batch of samples and their places in the stream, one for each video.
        validation: what is measured every VALIDATION.EVERY_STEPS and after the last step.

    Raises:
        RunEnded: before the last step, see :mod:`diffmae_video.runtime.stops`.
        OSError: the folder cannot be written to, or the disk is full.
    """
    cfg, process, state = run.cfg, run.process, run.state
    path, records = Path("/dev/null"), None
    if process.is_main:
        run.output.mkdir(parents=True, exist_ok=True)
        write_text(run.output / "config.yaml", cfg.dump())
        for name in (METRICS, VALIDATIONS, BAD_STEPS):
            forget_after(run.output / name, state.step)
        path = run.output / METRICS
        records = Records(run.output, resumed_at=state.step if run.found else None)
    record_environment(run.output, process)
    faults = FaultLog(run.output / "bad_videos.jsonl", cfg.DATA.MAX_BAD_SHARE, cfg.TRAIN.BATCH_SIZE)
    agreement = Agreement(process, cfg.TRAIN.PATIENCE)
    bad, saved_step, saved_at = 0, state.step, time.monotonic()
    with (
        StopSignals() as signals,
        StepLog(path, plan.steps, state.step, cfg.TRAIN.LOG_EVERY, plan.clips, records) as log,
        collecting_seldom() as collect,
        shielded_batches(loader) as loaded,
    ):
        batches = faults.watch(loaded)
        engine.train()
        while state.step < plan.steps:
            minutes = (time.monotonic() - saved_at) / 60
            agreement.ask(signals.seen, process.is_main and 0 < cfg.CHECKPOINT.EVERY_MINUTES <= minutes)
            is_good = _step(run, engine, batches, plan, loss_of, log)
            bad = 0 if is_good else bad + 1
            collect(state.step)
            stop, is_time = agreement.answer()
            if bad >= cfg.TRAIN.MAX_BAD_STEPS:
                raise end_run(
                    process,
                    f"error: step {state.step} is the last of {bad} in a row whose loss or gradient is not "
                    f"finite; {run.output / BAD_STEPS} says on which samples; lower the rate or clip the "
                    "gradient, and go on with --resume",
                    FAILED,
                )
            is_last = state.step == plan.steps
            is_best, best_before = False, (state.best_step, state.best_cost)
            is_measured = is_last or (is_good and _is_due(cfg.VALIDATION, state.step))
            if validation is not None and not stop and is_measured:
                is_best = _validate(run, engine, validation, records)
            is_due = is_time or is_best or _is_due(cfg.CHECKPOINT, state.step)
            # Among bad steps none is written, which would push out those from before them
            if stop or is_last or (is_due and is_good):
                log.flush()
                is_saved = run.save(engine)
                saved_at = time.monotonic()
                if is_saved:
                    saved_step = state.step
                else:  # a best model that is not on disk is none
                    state.best_step, state.best_cost = best_before
            if stop and not is_last:
                told = f"told to stop; step {saved_step} is saved, go on with --resume"
                raise end_run(process, told, STOPPED if saved_step == state.step else FAILED)
    weights = model_weights(engine)
    if process.is_main:
        engine.module.save_pretrained(run.output, state_dict=weights)
    if cfg.TRAIN.EMA:
        average = model_weights(engine, EMA)
        if process.is_main:
            write_tensors(run.output / AVERAGED_WEIGHTS, average)


def _is_due(section: CfgNode, step: int) -> bool:
    return section.EVERY_STEPS > 0 and step % section.EVERY_STEPS == 0


def _validate(run: Run, engine: Any, validation: Validating, records: Records | None) -> bool:
    """Measures the model as it is, and writes it down; True if it is the best one so far."""
    state = run.state
    with gathered(engine) as model:
        figures, picture = validation.measure(model), validation.picture(model)
    cost = validation.cost(figures)
    if run.cfg.TRAIN.EMA:
        with gathered(engine, EMA) as average:
            figures |= {f"ema_{name}": value for name, value in validation.measure(average).items()}
    if records is not None:
        with (run.output / VALIDATIONS).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.step, **figures}) + "\n")
        records.validation(state.step, figures)
        if picture is not None:
            records.picture(state.step, picture)
    is_best = state.best_cost is None or cost < state.best_cost
    if is_best:
        state.best_step, state.best_cost = state.step, cost
    return is_best


def _step(
    run: Run,
    engine: Any,
    batches: Iterator[Any],
    plan: Plan,
    loss_of: Callable[[Any, Sequence[int]], Tensor],
    log: StepLog,
) -> bool:
    """One optimizer step; False if its loss or its gradient was not finite."""
    train, process, state = run.cfg.TRAIN, run.process, run.state
    started, waited = time.perf_counter(), 0.0
    rate = plan.rate(state.step)
    for group in engine.optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
    key = (train.SEED, state.step, NOT_DATA, 1 + process.rank)
    torch.manual_seed(random_state(*key).initial_seed())  # for dropout and its like
    losses = []
    for micro in range(train.ACCUMULATION):
        before = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - before
        first = state.samples + micro * train.BATCH_SIZE * process.world + process.rank
        places = range(first, first + train.BATCH_SIZE * process.world, process.world)
        loss = loss_of(batch, places)
        losses.append(loss.detach())
        engine.backward(spread_non_finite(loss))
        taken = take_step(engine)
    if taken.applied and train.EMA:
        update_ema(engine, train.EMA)
    loss = torch.stack(losses).mean()
    is_good = taken.applied or _is_scale_too_high(engine, loss, process)
    state.step += 1
    if not is_good and process.is_main:
        _note_bad_step(run, plan, loss)
    state.samples += plan.videos
    state.epoch = state.samples // plan.count
    log.step(
        step=state.step,
        loss=loss,
        lr=rate,
        grad_norm=taken.grad_norm if math.isfinite(taken.grad_norm) else None,
        **({} if taken.applied else {"skipped": True}),
        data_ms=round(1000 * waited, 2),
        step_ms=round(1000 * (seconds := time.perf_counter() - started), 2),
        clips_per_s=round(plan.clips / seconds, 2),
        memory_mb=round(process.peak_mb()),
    )
    return is_good


def _is_scale_too_high(engine: Any, loss: Tensor, process: Process) -> bool:
    """Whether a skipped step is but fp16's search for its loss scale: the loss itself is finite."""
    if not engine.fp16_enabled():
        return False
    total = loss.clone()
    if process.world > 1:
        dist.all_reduce(total)
    return bool(total.isfinite())


def _note_bad_step(run: Run, plan: Plan, loss: Tensor) -> None:
    """Writes down on which samples, as (epoch, index) of the list, a step was not finite."""
    sampler = EpochSampler(plan.count, run.cfg.TRAIN.SEED, start=run.state.samples)
    row = {
        "step": run.state.step,
        "loss": float(loss) if loss.isfinite() else None,
        "samples": list(itertools.islice(sampler, plan.videos)),
    }
    with (run.output / BAD_STEPS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


@contextlib.contextmanager
def collecting_seldom() -> Iterator[Callable[[int], None]]:
    """Garbage is collected by steps and on all processes at once, and not when Python sees fit."""

    def collect(step: int) -> None:
        if step % COLLECT_EVERY == 0:
            gc.collect()

    gc.disable()
    try:
        yield collect
    finally:
        gc.enable()
