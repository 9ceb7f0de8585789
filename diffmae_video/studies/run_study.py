"""Runs a study, continuing whatever was done before, and collects its results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch

from diffmae_video import build_model, load_config
from diffmae_video.files import write_text
from diffmae_video.models import load_model
from diffmae_video.studies.labelled_data import check_labels, write_label_lists
from diffmae_video.studies.parallel_jobs import Job, run_jobs
from diffmae_video.studies.shuffled_frames import accuracy_by_frame_order
from diffmae_video.studies.study import (
    LABEL_SETS,
    PROBE_RESULT,
    QUARTERS,
    SCRATCH,
    Study,
    check_same_options,
)


class Start(NamedTuple):
    """What a fine-tuning or a probe starts from."""

    seed: int  # of the study
    init: str  # a system, or scratch
    quarter: int  # of pre-training, 1 to 4; 4 is the end


def run_study(study: Study, jobs_at_once: int) -> dict[str, Any]:
    """Runs what is not done yet and collects the results.

    Args:
        jobs_at_once: runs in parallel, of one core each.

    Returns:
        ``runs``: top-1 (a share) of each fine-tuning by seed, init, labels and steps of pre-training;
        ``probes``: likewise for probes (from scratch: of random weights); on clips, ``motion``: see
        :func:`~diffmae_video.studies.shuffled_frames.accuracy_by_frame_order`; the settings of the study; and
        the seconds of training by run.

    Raises:
        InputError: a run failed, a list cannot be read, labels do not fit, or a folder holds a run with
            other options.
    """
    check_labels(study.labelled_entries, study.entries(study.val))
    for seed in range(study.seeds):
        write_label_lists(study.labelled_entries, study.folder(seed, ""), seed)
        _write_untrained(study, seed)
    pretrainings = [
        study.pretraining(seed, system) for seed in range(study.seeds) for system in study.systems
    ]
    finetunings = {
        (start, labels): study.finetuning(start.seed, start.init, labels, start.quarter)
        for start, labels in _finetuning_starts(study)
    }
    probings = {start: study.probing(*start) for start in _probe_starts(study)}
    one_frame = [study.one_frame_training(seed) for seed in range(study.seeds) if study.is_video]
    check_same_options([*pretrainings, *finetunings.values(), *one_frame])
    jobs = [*pretrainings, *finetunings.values(), *one_frame, *probings.values()]
    by_seed = [
        job for seed in range(study.seeds) for job in jobs if job.folder.parent == study.folder(seed, "")
    ]
    run_jobs(by_seed, jobs_at_once, study.name)

    a_run = study.finetuning(0, SCRATCH, "few").folder
    result: dict[str, Any] = {
        "study": study.name,
        "quick": study.quick,
        "budget": study.unit,
        "labels": {labels: len(study.entries(study.label_list(0, labels))) for labels in LABEL_SETS},
        "val": len(study.entries(study.val)),
        "classes": len(load_model(a_run).classes),
        "runs": [
            {
                "seed": start.seed,
                "init": start.init,
                "labels": labels,
                **_pretraining_length(study, start),
                "top1": _final_top1(job),
            }
            for (start, labels), job in finetunings.items()
        ],
        "probes": [
            {
                "seed": start.seed,
                "init": start.init,
                **_pretraining_length(study, start),
                **_probe_figures(study, job),
            }
            for start, job in probings.items()
        ],
        "seconds": {
            job.folder.name: round(sum(row["step_ms"] for row in job.read_rows("metrics.jsonl")) / 1000)
            for job in (*pretrainings, *finetunings.values())
            if job.folder.parent == study.folder(0, "")
        },
        "environment": _environment(a_run),
    }
    if study.is_video:
        result["motion"] = [
            {
                "seed": seed,
                **accuracy_by_frame_order(study.finetuning(seed, "diffmae", "all").folder),
                "one_frame_model": _final_top1(job),
            }
            for seed, job in enumerate(one_frame)
        ]
    return result


def _finetuning_starts(study: Study) -> list[tuple[Start, str]]:
    """All fine-tunings: from every init with both label sets, and along the curves with few labels."""
    final = [
        (Start(seed, init, QUARTERS), labels)
        for seed in range(study.seeds)
        for labels in LABEL_SETS
        for init in study.inits
    ]
    along = [(Start(0, system, quarter), "few") for system in study.curves for quarter in range(1, QUARTERS)]
    return final + along


def _probe_starts(study: Study) -> list[Start]:
    """All probes: of each system (with curves, also along the first seed's pre-training) and of scratch."""
    quarters = range(1, QUARTERS) if study.curves else range(0)
    pretrained = [
        Start(seed, system, quarter)
        for seed in range(study.seeds)
        for system in study.systems
        for quarter in (*(quarters if seed == 0 else ()), QUARTERS)
    ]
    return pretrained + [Start(seed, SCRATCH, QUARTERS) for seed in range(study.seeds)]


def _write_untrained(study: Study, seed: int) -> None:
    """Saves DiffMAE, or the first system, with random weights, for a probe of them."""
    folder = study.untrained(seed)
    cfg = load_config(study.recipe("diffmae" if study.recipe("diffmae").is_file() else study.systems[0]))
    if (folder / "config.yaml").is_file():
        return
    torch.manual_seed(seed)
    build_model(cfg).save_pretrained(folder)
    write_text(folder / "config.yaml", cfg.dump())


def _pretraining_length(study: Study, start: Start) -> dict[str, float]:
    """Steps of pre-training before a start, and their share of the budget."""
    if start.init == SCRATCH:
        return {"pretraining_steps": 0, "budget": 0}
    total = study.steps(start.init)
    steps = total // QUARTERS * start.quarter
    return {"pretraining_steps": steps, "budget": steps / total * study.budget if study.budget else steps}


def _final_top1(job: Job) -> float:
    return job.read_rows("validation.jsonl")[-1]["top1"]


def _probe_figures(study: Study, job: Job) -> dict[str, float]:
    figures = json.loads((job.folder / PROBE_RESULT).read_text(encoding="utf-8"))
    return {name: figures[name] for name in (*study.probes, "layer") if name in figures}


def _environment(folder: Path) -> list[dict[str, Any]]:
    """The starts of a run, without command lines and folders: results are published."""
    starts = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    return [{k: v for k, v in start.items() if k not in ("command", "folder")} for start in starts]
