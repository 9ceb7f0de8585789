"""The authors' comparison (DiffMAE, Table 2 and project page): each system pre-trained at one budget.

What follows pre-training, fine-tuning and probes, is a :class:`~diffmae_video.studies.study.Study`.
A budget is of FLOPs by default, as no system is then favoured by how well its operators are tuned on the
machine at hand.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from fvcore.common.config import CfgNode

from diffmae_video.config import load_config
from diffmae_video.cost.flops import training_cost
from diffmae_video.errors import InputError
from diffmae_video.studies.jobs import Job, run_jobs
from diffmae_video.studies.study import PARTS, Study, check_unchanged
from diffmae_video.training.pretrain import pretrain

UNITS = {"flops": "FLOPs", "seconds": "seconds", "pictures": "pictures"}
FLOPS_PER_MAC, FORWARDS = 2, 3  # a step is about three forwards
TIMED, WARMUP = 16, 6  # steps that are run to know the seconds of one, and of them those that do not count


def plan(
    cfg: CfgNode, recipes: Path, data: tuple[Path, Path], output: Path
) -> tuple[Study, dict[str, dict[str, float]]]:
    """COMPARE's plan as a study, and what the pre-training of each of its systems costs.

    Args:
        recipes: the folder of the systems' recipes and of those for fine-tuning.
        data: to train on, and to validate on; with labels.

    Returns:
        The study, and by system its parameters, multiply-accumulates of a forward of one picture or
        clip, steps, pictures or clips, and FLOPs.

    Raises:
        InputError: the plan is not one, or a run that times steps failed.
    """
    compared = cfg.COMPARE
    systems = systems_of(cfg, recipes)
    train, val = data
    seconds: dict[str, float] = {}
    if compared.UNIT == "seconds":
        seconds = step_seconds(systems, recipes, train, output / "timing")
    costs: dict[str, dict[str, float]] = {}
    for system in systems:
        recipe = load_config(recipes / f"{system}.yaml")
        cost, clips = training_cost(recipe), clips_of_a_step(recipe)
        flops = FLOPS_PER_MAC * FORWARDS * cost.macs * clips
        per_step = {"flops": flops, "pictures": clips, "seconds": seconds.get(system, 0.0)}[compared.UNIT]
        steps = steps_of(compared.BUDGET, per_step)
        costs[system] = {
            "parameters": cost.parameters,
            "macs": cost.macs,
            "steps": steps,
            "pictures": steps * clips,
            "flops": steps * flops,
        }
    study = Study(
        recipes.name,
        recipes,
        train,
        val,
        labelled=0,
        output=output / "runs",
        seeds=compared.SEEDS,
        systems=systems,
        pretraining_steps={system: int(cost["steps"]) for system, cost in costs.items()},
        budget=compared.BUDGET,
        unit=UNITS[compared.UNIT],
        curves=systems if compared.CURVES else (),
        probes=("linear", "knn"),
    )
    return study, costs


def systems_of(cfg: CfgNode, recipes: Path) -> tuple[str, ...]:
    """The systems of COMPARE.SYSTEMS, each of which has a recipe.

    Raises:
        InputError: one has none, or is named twice, or there is none.
    """
    systems = tuple(cfg.COMPARE.SYSTEMS)
    known = sorted(path.stem for path in recipes.glob("*.yaml") if not path.stem.startswith("finetune"))
    unknown = [name for name in systems if name not in known]
    if unknown or not systems or len(set(systems)) < len(systems):
        raise InputError(
            f"COMPARE.SYSTEMS: {cfg.COMPARE.SYSTEMS}: takes names, each once, out of {', '.join(known)}, "
            f"which have recipes in {recipes}"
        )
    return systems


def steps_of(budget: float, per_step: float) -> int:
    """Optimizer steps that a budget pays for, in whole parts.

    Raises:
        InputError: not one for each part.
    """
    steps = int(budget / per_step / PARTS) * PARTS
    if steps < PARTS:
        raise InputError(
            f"--budget {budget:.3g}: pays for less than {PARTS} steps of {per_step:.3g}; raise it"
        )
    return steps


def clips_of_a_step(cfg: CfgNode) -> int:
    """Pictures or clips of one optimizer step."""
    clips: int = cfg.TRAIN.BATCH_SIZE * cfg.TRAIN.ACCUMULATION * cfg.DATA.REPEATS
    return clips


def step_seconds(systems: Sequence[str], recipes: Path, train: Path, folder: Path) -> dict[str, float]:
    """The median seconds of an optimizer step of each system, measured once, one system at a time.

    Raises:
        InputError: a run failed, or was made with another recipe.
    """
    seconds = {}
    for system in systems:
        options = ["DATA.TRAIN", train, "TRAIN.MAX_STEPS", TIMED, "TRAIN.LOG_EVERY", 1]
        cfg = load_config(recipes / f"{system}.yaml", [*options, "CHECKPOINT.EVERY_STEPS", 0])
        job = Job(folder / system, pretrain, [cfg])
        check_unchanged([job])
        run_jobs([[job]], 1, f"timing {system}")
        lines = (folder / system / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        seconds[system] = statistics.median(json.loads(line)["step_ms"] for line in lines[WARMUP:]) / 1000
    return seconds
