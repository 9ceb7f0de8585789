"""How long each system is pre-trained at an equal budget of FLOPs, seconds or pictures."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from fvcore.common.config import CfgNode

from diffmae_video.build import meta_model
from diffmae_video.config import load_config
from diffmae_video.cost.flops import training_cost
from diffmae_video.errors import InputError
from diffmae_video.studies.parallel_jobs import Job, run_jobs
from diffmae_video.studies.study import QUARTERS, check_same_options
from diffmae_video.training.pretrain import pretrain

UNITS = {"flops": "FLOPs", "seconds": "seconds", "pictures": "pictures"}
FLOPS_PER_MAC = 2
FORWARDS_PER_STEP = 3  # a backward pass costs about two forward passes
TIMED_STEPS, WARMUP_STEPS = 16, 6  # run to time a step; the first ones are left out


def costs_at_budget(
    systems: Sequence[str], recipes: Path, budget: float, unit: str, train: Path, timing: Path
) -> dict[str, dict[str, float]]:
    """What each system's pre-training amounts to within a budget.

    Args:
        systems: names of recipes.
        recipes: their folder.
        budget: for each system, in ``unit``.
        unit: one of ``UNITS``. With ``flops`` no system gains from how well its operators are tuned on the
            machine at hand.
        train: the training set, for timing steps.
        timing: a folder for the timed runs.

    Returns:
        By system: ``parameters``, ``macs`` (of a forward pass of one picture or clip), ``steps``,
        ``pictures`` (or clips) and ``flops``.

    Raises:
        InputError: a budget that is too small, or a failed timing run.
    """
    seconds = seconds_per_step(systems, recipes, train, timing) if unit == "seconds" else {}
    costs: dict[str, dict[str, float]] = {}
    for system in systems:
        recipe = load_config(recipes / f"{system}.yaml")
        cost, clips = training_cost(meta_model(recipe)), clips_per_step(recipe)
        flops = FLOPS_PER_MAC * FORWARDS_PER_STEP * cost.macs * clips
        step_cost = {"flops": flops, "pictures": clips, "seconds": seconds.get(system, 0.0)}[unit]
        steps = affordable_steps(budget, step_cost)
        costs[system] = {
            "parameters": cost.parameters,
            "macs": cost.macs,
            "steps": steps,
            "pictures": steps * clips,
            "flops": steps * flops,
        }
    return costs


def affordable_steps(budget: float, step_cost: float) -> int:
    """Optimizer steps within a budget, in whole quarters of pre-training.

    Raises:
        InputError: the budget does not cover one step for each quarter.
    """
    steps = int(budget / step_cost / QUARTERS) * QUARTERS
    if steps < QUARTERS:
        raise InputError(
            f"--budget {budget:.3g}: pays for fewer than {QUARTERS} steps of {step_cost:.3g}; raise it"
        )
    return steps


def clips_per_step(cfg: CfgNode) -> int:
    """Pictures or clips in an optimizer step."""
    return cfg.TRAIN.BATCH_SIZE * cfg.TRAIN.ACCUMULATION * cfg.DATA.REPEATS


def seconds_per_step(systems: Sequence[str], recipes: Path, train: Path, folder: Path) -> dict[str, float]:
    """Median seconds of an optimizer step, measured once for each system, one after the other.

    Raises:
        InputError: a run failed, or the folder holds one with other options.
    """
    seconds = {}
    for system in systems:
        options = ["DATA.TRAIN", train, "TRAIN.MAX_STEPS", TIMED_STEPS, "TRAIN.LOG_EVERY", 1]
        cfg = load_config(recipes / f"{system}.yaml", [*options, "CHECKPOINT.EVERY_STEPS", 0])
        job = Job(folder / system, pretrain, [cfg])
        check_same_options([job])
        run_jobs([job], 1, f"timing {system}")
        rows = job.read_rows("metrics.jsonl")[WARMUP_STEPS:]
        seconds[system] = statistics.median(row["step_ms"] for row in rows) / 1000
    return seconds
