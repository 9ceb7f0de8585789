"""A comparison of models by how they fill: trained on the demo's videos, scored on held-out parts of them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode

from diffmae_video.config import load_config
from diffmae_video.data import Entry, find_videos
from diffmae_video.files import write_text
from diffmae_video.inpainting.sample_scores import score_samples
from diffmae_video.masks import Mask
from diffmae_video.models.base import load_inpainter
from diffmae_video.runtime.device import default_device
from diffmae_video.studies.comparison import systems_of
from diffmae_video.studies.demo import CLIPS_PER_PART, clips_of, shipped_clips, split_videos
from diffmae_video.studies.parallel_jobs import Job, run_jobs
from diffmae_video.studies.pretraining_budget import UNITS, costs_at_budget
from diffmae_video.studies.study import check_same_options
from diffmae_video.training.pretrain import pretrain

SCORES = "fill_scores.json"
TASKS = {"random": 0.75, "tube": 0.75, "center": 0.25}  # kinds of mask, and the share they hide
STEPS = 30  # of DDIM
# Columns of the table: figure, title and decimals.
COLUMNS = (
    ("first_prediction_psnr", "first prediction", 2),
    ("sample_psnr", "sample", 2),
    ("posterior_mean_psnr", "mean of 8 samples", 2),
    ("sample_gradient_ratio", "gradient", 2),
    ("sample_std_ratio", "std", 2),
    ("sample_motion_ratio", "motion", 2),
    ("mean_fill_psnr", "mean fill", 2),
    ("interpolation_psnr", "linear in time", 2),
)


def compare_fills(
    config: Path, options: Sequence[Any], videos: Path | None, output: Path, jobs_at_once: int
) -> dict[str, Any]:
    """Trains every system of a config at one budget and scores its fills.

    Writes result.json and table.md anew after each system, so that a run that is cut off leaves what it had.
    A failed system costs only its own rows.

    Args:
        config: a YAML file with the section COMPARE. The systems' recipes lie in the folder beside it that
            has its name.
        options: ``[KEY, VALUE, ...]``, override the config.
        videos: a folder of videos; None takes the demo's.
        output: the folder for runs and results.
        jobs_at_once: runs in parallel, of one core each.

    Returns:
        ``runs``: for each system and seed its seconds of training and, under ``scores``, by task and part of
        the held-out videos the figures of :func:`~diffmae_video.inpainting.sample_scores.score_samples`;
        ``costs``: see :func:`~diffmae_video.studies.pretraining_budget.costs_at_budget`.

    Raises:
        InputError: the config, the videos or an earlier run in the folder is not usable.
    """
    cfg, recipes = load_config(config, options), config.with_suffix("")
    systems = systems_of(cfg, recipes)
    first = load_config(recipes / f"{systems[0]}.yaml")
    paths = find_videos(videos) if videos is not None else shipped_clips()
    parts = split_videos(paths, output / "videos", output / "lists", first)
    train = output / "lists" / "train.csv"
    costs = costs_at_budget(systems, recipes, cfg.COMPARE.BUDGET, cfg.COMPARE.UNIT, train, output / "timing")
    jobs = {
        (system, seed): _job(
            recipes / f"{system}.yaml", int(costs[system]["steps"]), seed, train, parts, output
        )
        for seed in range(cfg.COMPARE.SEEDS)
        for system in systems
    }
    check_same_options(list(jobs.values()))

    def write_result() -> dict[str, Any]:
        result = {
            "study": recipes.name,
            "budget": cfg.COMPARE.BUDGET,
            "unit": UNITS[cfg.COMPARE.UNIT],
            "costs": costs,
            "runs": [
                {"system": system, "seed": seed, **_figures(job)}
                for (system, seed), job in jobs.items()
                if job.is_done
            ],
        }
        write_text(output / "result.json", json.dumps(result, indent=1) + "\n")
        write_text(output / "table.md", fill_table(result))
        return result

    run_jobs(list(jobs.values()), jobs_at_once, recipes.name, after_each=write_result)
    return write_result()


def _figures(job: Job) -> dict[str, Any]:
    """The seconds of training and the scores of a job that is done."""
    seconds = sum(row["step_ms"] for row in job.read_rows("metrics.jsonl")) / 1000
    return {
        "seconds": round(seconds, 1),
        "scores": json.loads((job.folder / SCORES).read_text(encoding="utf-8")),
    }


def _job(
    recipe: Path, steps: int, seed: int, train: Path, parts: dict[str, list[Entry]], output: Path
) -> Job:
    plain = load_config(recipe)
    warmup = round(plain.TRAIN.WARMUP_STEPS * steps / plain.TRAIN.MAX_STEPS)
    cfg = load_config(
        recipe,
        ["TRAIN.MAX_STEPS", steps, "TRAIN.WARMUP_STEPS", warmup, "TRAIN.SEED", seed, "DATA.TRAIN", train],
    )
    return Job(
        output / "runs" / f"seed{seed}" / recipe.stem, train_and_score, [cfg, parts], SCORES, weight=steps
    )


def train_and_score(cfg: CfgNode, parts: dict[str, list[Entry]], folder: Path, resume: bool) -> None:
    """Pre-trains a model and writes the scores of its fills. The run of a job."""
    pretrain(cfg, folder, resume)
    model = load_inpainter(folder).to(default_device())
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for task, ratio in TASKS.items():
        for seed, (part, entries) in enumerate(parts.items()):
            clips = clips_of(entries, CLIPS_PER_PART, cfg).to(default_device())
            generator = torch.Generator().manual_seed(seed)
            mask = Mask.draw(task, len(clips), model.grid, ratio, generator).to(default_device())
            scores.setdefault(task, {})[part] = score_samples(model, clips, mask, STEPS)
    write_text(folder / SCORES, json.dumps(scores, indent=1) + "\n")


def fill_table(result: dict[str, Any]) -> str:
    """A table in Markdown for each task: a row for each system, the parts in one cell, means over seeds."""
    lines = []
    for task in TASKS:
        parts = list(result["runs"][0]["scores"][task])
        lines += [f"{task}, {int(100 * TASKS[task])} % hidden; cells: {' / '.join(parts)}", ""]
        lines.append("| system | " + " | ".join(title for _, title, _ in COLUMNS) + " | s |")
        lines.append("|---" * (len(COLUMNS) + 2) + "|")
        for system in dict.fromkeys(run["system"] for run in result["runs"]):
            runs = [run for run in result["runs"] if run["system"] == system]
            cells = [
                " / ".join(
                    f"{statistics.mean(run['scores'][task][part][name] for run in runs):.{digits}f}"
                    for part in parts
                )
                for name, _, digits in COLUMNS
            ]
            seconds = statistics.mean(run["seconds"] for run in runs)
            lines.append(f"| {system} | {' | '.join(cells)} | {seconds:.0f} |")
        lines.append("")
    return "\n".join(lines)
