"""Does pre-training pay? Fine-tuning from DiffMAE, from MAE and others, and from scratch, at equal budgets.

A study is a set of labelled clips or pictures and a folder of recipes: ``diffmae.yaml``, ``mae.yaml`` and
the like pre-train on all of the training set without its labels; ``finetune.yaml`` is for all labels,
``finetune_few.yaml`` for a tenth of them, and of clips ``one_frame.yaml`` trains a model that sees one
frame. The runs are those of tools/pretrain.py, tools/finetune.py and tools/probe.py.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from diffmae_video import build_model, load_config
from diffmae_video.classification.classify import classify
from diffmae_video.classification.metrics import accuracy
from diffmae_video.data import (
    ClipSampler,
    Entry,
    ViewDataset,
    Views,
    class_indices,
    class_names,
    label_targets,
    read_list,
    write_list,
)
from diffmae_video.errors import InputError
from diffmae_video.evaluation.probe import probe
from diffmae_video.files import write_text
from diffmae_video.models import load_model
from diffmae_video.randomness import random_state
from diffmae_video.runtime.processes import start_process
from diffmae_video.studies.jobs import Job, run_jobs
from diffmae_video.training.finetune import finetune
from diffmae_video.training.pretrain import pretrain

FEW = 0.1  # share of the labels
SCRATCH, SYSTEMS = "scratch", ("mae", "diffmae")
PROBED = "probe.json"
PARTS = 4  # of pre-training, after each of which it is fine-tuned from
QUICK = 0.25  # of all steps, in a short run
SHARES = ("few", "all")
# Of the motions: still, or a jerk of its own in each frame, in whatever order the frames come.
ANY_ORDER = ("shake", "still")


@dataclass(frozen=True)
class Study:
    """What is compared on one set.

    Args:
        name: of the folder and the results.
        recipes: their folder.
        train, val: lists or folders with labels; pre-training reads all of train.
        labelled: so many of train's first entries have labels that count; 0 for all.
        output: the folder for all runs.
        seeds: how many; a seed is of weights, order, augmentation and of which labels are the few.
        quick: a quarter of all steps.
        systems: what is pre-trained, by the name of its recipe.
        pretraining_steps: in place of those of a system's recipe.
        budget, unit: of the pre-training of each system, where that is no number of steps.
        curves: systems whose accuracy is followed over the length of pre-training, fine-tuned with the
            first seed and few labels; all are probed.
        probes: kinds of :data:`~diffmae_video.evaluation.probe.KINDS`.
    """

    name: str
    recipes: Path
    train: Path
    val: Path
    labelled: int
    output: Path
    seeds: int
    quick: bool = False
    systems: tuple[str, ...] = SYSTEMS
    pretraining_steps: Mapping[str, int] = field(default_factory=dict)
    budget: float = 0.0
    unit: str = "steps"
    curves: tuple[str, ...] = ()
    probes: tuple[str, ...] = ("linear",)

    def recipe(self, name: str) -> Path:
        return self.recipes / f"{name}.yaml"

    @property
    def inits(self) -> tuple[str, ...]:
        return (SCRATCH, *self.systems)

    def entries(self, path: Path) -> list[Entry]:
        return read_list(path, images=load_config(self.recipe("finetune")).DATA.NUM_FRAMES == 1)

    def steps(self, name: str) -> int:
        whole: int = self.pretraining_steps.get(name) or load_config(self.recipe(name)).TRAIN.MAX_STEPS
        return PARTS * max(1, round(whole * QUICK / PARTS)) if self.quick else whole

    def folder(self, seed: int, name: str) -> Path:
        return self.output / self.name / f"seed{seed}" / name

    def pretraining(self, seed: int, objective: str) -> Job:
        steps, cfg = self.steps(objective), load_config(self.recipe(objective))
        options = ["DATA.TRAIN", self.train, "CHECKPOINT.EVERY_STEPS", steps // PARTS]
        # A budget stretches the recipe's schedule as a whole; one that is in epochs has a warm-up in epochs.
        if objective in self.pretraining_steps and cfg.TRAIN.MAX_STEPS:
            options += ["TRAIN.WARMUP_STEPS", round(cfg.TRAIN.WARMUP_STEPS * steps / cfg.TRAIN.MAX_STEPS)]
        return self._run(pretrain, seed, objective, objective, steps, [*options, "CHECKPOINT.KEEP", PARTS])

    def part(self, seed: int, objective: str, part: int) -> Path:
        """The pre-trained model after ``part`` of PARTS parts."""
        if part == PARTS:
            return self.folder(seed, objective)
        step = self.steps(objective) // PARTS * part
        return self.folder(seed, objective) / f"checkpoints/step_{step:08d}"

    def finetuning(self, seed: int, init: str, share: str, part: int = PARTS, recipe: str = "") -> Job:
        """A run from an init; ``recipe`` in place of the share's.

        From scratch it is the one that ends in _scratch, which has the rates that suit that.
        """
        recipe = recipe or ("finetune" if share == "all" else "finetune_few")
        name = f"{recipe}-{init}" + ("" if part == PARTS else f"-{part}")
        if self.recipe(f"{recipe}_{init}").is_file():
            recipe = f"{recipe}_{init}"
        train = self.folder(seed, f"{share}.csv")
        options: list[Any] = ["DATA.TRAIN", train, "DATA.VAL", self.val]
        if init != SCRATCH:
            options += ["FINETUNE.INIT", self.part(seed, init, part)]
        return self._run(finetune, seed, recipe, name, self.steps(recipe), options)

    def probing(self, seed: int, init: str, part: int = PARTS) -> Job:
        """Probes of a pre-trained model as it is, or from scratch of random weights."""
        checkpoint = self.folder(seed, "untrained") if init == SCRATCH else self.part(seed, init, part)
        name = f"probe-{init}" + ("" if part == PARTS else f"-{part}")
        options = ["DATA.TRAIN", self.folder(seed, "all.csv"), "DATA.VAL", self.val]
        arguments = [checkpoint, options, self.probes]
        weight = len(self.entries(self.val)) + len(self.entries(self.folder(seed, "all.csv")))
        return Job(self.folder(seed, name), write_probe, arguments, PROBED, weight)

    def _run(
        self,
        run: Callable[..., None],
        seed: int,
        recipe: str,
        name: str,
        steps: int,
        options: Sequence[Any],
    ) -> Job:
        options = ["TRAIN.MAX_STEPS", steps, "TRAIN.SEED", seed, *options]
        cfg = load_config(self.recipe(recipe), [str(x) for x in options])
        clips = steps * cfg.TRAIN.BATCH_SIZE * cfg.TRAIN.ACCUMULATION * cfg.DATA.REPEATS
        return Job(self.folder(seed, name), run, [cfg], weight=clips)


def run_study(study: Study, at_once: int) -> dict[str, Any]:
    """Runs what is not done yet, and gathers what came out.

    Args:
        at_once: runs side by side, of one core each.

    Returns:
        ``runs``: top-1 (a share) of each fine-tuning by seed, init, share of the labels and steps of
        pre-training; ``probes``: of the probes by seed, init and steps (from scratch: of random
        weights); ``motion``, of clips: see :func:`motion_checks`; what it was run with, and the seconds
        of training of each recipe.

    Raises:
        InputError: a run failed, a list cannot be read, or a folder holds a run with other options.
    """
    seeds = range(study.seeds)
    check_labels(study)
    for seed in seeds:
        write_shares(study, seed)
        write_untrained(study, seed)
    is_video = study.recipe("one_frame").is_file()
    parts = range(1, PARTS) if study.curves else range(0)
    plan = [(seed, init, share, PARTS) for seed in seeds for share in SHARES for init in study.inits]
    plan += [(0, system, "few", part) for system in study.curves for part in parts]
    before = [study.pretraining(seed, system) for seed in seeds for system in study.systems]
    after = [study.finetuning(*run) for run in plan]
    alone = [study.finetuning(seed, SCRATCH, "all", recipe="one_frame") for seed in seeds if is_video]
    probed = [
        (seed, system, part)
        for seed in seeds
        for system in study.systems
        for part in (*parts, PARTS)
        if seed == 0 or part == PARTS
    ]
    probed += [(seed, SCRATCH, PARTS) for seed in seeds]
    probing = [study.probing(*place) for place in probed]
    check_unchanged([*before, *after, *alone])
    run_jobs([before, [*after, *alone, *probing]], at_once, study.name)

    def trained(init: str, part: int) -> dict[str, float]:
        steps = 0 if init == SCRATCH else study.steps(init) // PARTS * part
        budget = steps / study.steps(init) * study.budget if study.budget and steps else steps
        return {"pretraining_steps": steps, "budget": budget}

    rows: list[dict[str, Any]] = [
        {"seed": seed, "init": init, "labels": share, **trained(init, part)}
        for seed, init, share, part in plan
    ]
    for row, job in zip(rows, after, strict=True):
        row["top1"] = last_row(job.folder / "validation.jsonl")["top1"]
    probes = []
    for (seed, init, part), job in zip(probed, probing, strict=True):
        figures = json.loads((job.folder / PROBED).read_text(encoding="utf-8"))
        row = {"seed": seed, "init": init, **trained(init, part)}
        probes.append(row | {name: figures[name] for name in (*study.probes, "layer") if name in figures})
    result: dict[str, Any] = {
        "study": study.name,
        "quick": study.quick,
        "budget": study.unit,
        "labels": {share: len(study.entries(study.folder(0, f"{share}.csv"))) for share in SHARES},
        "val": len(study.entries(study.val)),
        "classes": len(load_model(after[0].folder).classes),
        "runs": rows,
        "probes": probes,
        "seconds": {
            job.folder.name: round(training_seconds(job.folder))
            for job in (*before, *after)
            if job.folder.parent.name == "seed0"
        },
        "environment": environment_of(after[0].folder),
    }
    if is_video:
        result["motion"] = [
            {
                "seed": seed,
                **motion_checks(study.finetuning(seed, "diffmae", "all").folder),
                "one_frame_model": last_row(job.folder / "validation.jsonl")["top1"],
            }
            for seed, job in zip(seeds, alone, strict=True)
        ]
    return result


def check_labels(study: Study) -> None:
    """Fine-tuning would tell it too, after hours of pre-training.

    Raises:
        InputError: an entry of the training set that counts has no label, or validation has one that is
            none of training's.
    """
    names = class_names(study.entries(study.train)[: study.labelled or None])
    class_indices(study.entries(study.val), names)


def write_shares(study: Study, seed: int) -> None:
    """``all.csv`` with all labels, and ``few.csv`` with a tenth of each class, drawn by the seed."""
    entries = study.entries(study.train)[: study.labelled or None]
    by_class: dict[str | None, list[Entry]] = {}
    for entry in entries:
        by_class.setdefault(entry.label, []).append(entry)
    few: list[Entry] = []
    for i, label in enumerate(sorted(by_class, key=str)):
        group = by_class[label]
        order = torch.randperm(len(group), generator=random_state(seed, i)).tolist()
        few += [group[place] for place in order[: max(1, round(FEW * len(group)))]]
    for share, part in (("few", few), ("all", entries)):
        absolute = [dataclasses.replace(entry, path=str(Path(entry.path).resolve())) for entry in part]
        write_list(study.folder(seed, f"{share}.csv"), absolute)


def write_untrained(study: Study, seed: int) -> None:
    """A folder with DiffMAE (or the first system) before its first step: for a probe of random weights."""
    folder = study.folder(seed, "untrained")
    cfg = load_config(study.recipe("diffmae" if study.recipe("diffmae").is_file() else study.systems[0]))
    if (folder / "config.yaml").is_file():
        return
    torch.manual_seed(seed)
    build_model(cfg).save_pretrained(folder)
    write_text(folder / "config.yaml", cfg.dump())


def write_probe(
    checkpoint: Path, options: Sequence[Any], kinds: Sequence[str], folder: Path, resume: bool
) -> None:
    """A job: writes PROBED, which is all that there is to go on with."""
    write_text(folder / PROBED, json.dumps(probe(checkpoint, options, kinds)) + "\n")


def check_unchanged(jobs: Sequence[Job]) -> None:
    """What is done would be taken for what is asked, were it asked for with other options.

    Raises:
        InputError: it was done with others.
    """
    for job in jobs:
        made = job.folder / "config.yaml"
        if made.is_file() and load_config(made).dump() != job.arguments[0].dump():
            raise InputError(
                f"{job.folder}: holds a run with other options than this plan's, say of another budget; "
                "give another --output"
            )


class Rearranged(ViewDataset):
    """Views whose frames are put in another order: that of ``orders``, [T] of each video by its place."""

    def __init__(self, orders: Sequence[Sequence[int]], *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.orders = orders

    def __getitem__(self, index: int) -> Views:
        views = super().__getitem__(index)
        return views._replace(clips=views.clips[:, list(self.orders[index])])


def motion_checks(folder: Path) -> dict[str, float]:
    """Top-1 of a run on its validation clips as they are, with frames shuffled, and with one repeated.

    What reads motion falls to chance in both; but shuffled clips of ANY_ORDER are still of their class, so
    ``shuffled_ordered`` is of the others alone.
    """
    cfg = load_config(folder / "config.yaml")
    entries = read_list(cfg.DATA.VAL)
    model, process = load_model(folder), start_process()
    labels = label_targets(entries, model.classes)
    frames = cfg.DATA.NUM_FRAMES
    orders: dict[str, list[Sequence[int]]] = {
        "as_it_is": [list(range(frames))] * len(entries),
        "shuffled": [
            torch.randperm(frames, generator=random_state(0, i)).tolist() for i in range(len(entries))
        ],
        "one_frame_repeated": [[frames // 2] * frames] * len(entries),
    }
    found = {}
    for name, order in orders.items():
        sampling = ClipSampler(frames, cfg.DATA.STRIDE, cfg.DATA.FPS)
        dataset = Rearranged(
            order,
            entries,
            sampling,
            cfg.DATA.SIZE,
            temporal=1,
            spatial=1,
            policy="fail",
            backend=cfg.DATA.BACKEND,
            short_side=cfg.DATA.SHORT_SIDE,
            timeout=cfg.DATA.TIMEOUT,
        )
        logits = classify(model, dataset, process, cfg.EVALUATION.BATCH_SIZE, cfg.DATA.WORKERS).logits
        found[name] = accuracy(logits, labels, 1)
        if name == "shuffled":
            ordered = torch.tensor([entry.label not in ANY_ORDER for entry in entries])
            found["shuffled_ordered"] = accuracy(logits[ordered], labels[ordered], 1)
    return found


def environment_of(folder: Path) -> list[dict[str, Any]]:
    """What a run was run with, without the places of its machine: a result is to be shown."""
    starts = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    return [{k: v for k, v in start.items() if k not in ("command", "folder")} for start in starts]


def last_row(path: Path) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(path.read_text(encoding="utf-8").splitlines()[-1])
    return row


def training_seconds(folder: Path) -> float:
    """The seconds that a run's steps took."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return sum(json.loads(line)["step_ms"] for line in lines) / 1000
