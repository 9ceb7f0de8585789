"""What a study compares, and the runs that it consists of.

A study asks whether pre-training pays: systems such as DiffMAE and MAE are pre-trained at equal budgets on a
training set without its labels, then fine-tuned and probed with few and with all labels, and compared with
training from scratch. Its recipes lie in one folder: ``diffmae.yaml``, ``mae.yaml`` and so on pre-train;
``finetune.yaml`` is for all labels and ``finetune_few.yaml`` for few; on clips, ``one_frame.yaml`` trains a
model that sees a single frame. The runs are those of diffmae pretrain, diffmae finetune and diffmae probe.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from diffmae_video import load_config
from diffmae_video.data import Entry, read_list
from diffmae_video.errors import InputError
from diffmae_video.evaluation.probe import probe
from diffmae_video.files import write_text
from diffmae_video.studies.parallel_jobs import Job
from diffmae_video.training.finetune import finetune
from diffmae_video.training.pretrain import pretrain

SCRATCH = "scratch"
LABEL_SETS = ("few", "all")
QUARTERS = 4  # pre-training keeps a checkpoint after each quarter
QUICK_SHARE = 0.25  # of all steps, in a quick study
PROBE_RESULT = "probe.json"


@dataclass(frozen=True)
class Study:
    """What is compared, on which data.

    Args:
        name: names the runs' folder and the results.
        recipes: the folder of the recipes.
        train, val: labelled lists or folders. Pre-training reads all of ``train``.
        labelled: only the first ``labelled`` entries of ``train`` have labels that may be used; 0 means all.
        output: the folder for all runs.
        seeds: how many seeds. A seed decides weights, order, augmentation and which labels are the few.
        quick: take a quarter of all steps.
        systems: what is pre-trained, by the names of the recipes.
        pretraining_steps: by system, replaces the recipe's number of steps.
        budget, unit: the budget of each pre-training, if it is not a number of steps.
        curves: systems that are also fine-tuned (first seed, few labels) and probed after each quarter of
            pre-training.
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
    systems: tuple[str, ...] = ("mae", "diffmae")
    pretraining_steps: Mapping[str, int] = field(default_factory=dict)
    budget: float = 0.0
    unit: str = "steps"
    curves: tuple[str, ...] = ()
    probes: tuple[str, ...] = ("linear",)

    @property
    def inits(self) -> tuple[str, ...]:
        """What fine-tuning starts from: no pre-training, or a system."""
        return (SCRATCH, *self.systems)

    @property
    def is_video(self) -> bool:
        return self.recipe("one_frame").is_file()

    def recipe(self, name: str) -> Path:
        return self.recipes / f"{name}.yaml"

    def folder(self, seed: int, name: str) -> Path:
        """The folder of a run."""
        return self.output / self.name / f"seed{seed}" / name

    def label_list(self, seed: int, labels: str) -> Path:
        """The training list with the labels of one of ``LABEL_SETS``."""
        return self.folder(seed, f"{labels}.csv")

    def entries(self, path: Path) -> list[Entry]:
        return read_list(path, images=load_config(self.recipe("finetune")).DATA.NUM_FRAMES == 1)

    @property
    def labelled_entries(self) -> list[Entry]:
        """The entries of the training set whose labels may be used."""
        return self.entries(self.train)[: self.labelled or None]

    def steps(self, name: str) -> int:
        """Optimizer steps of a recipe in this study."""
        full: int = self.pretraining_steps.get(name) or load_config(self.recipe(name)).TRAIN.MAX_STEPS
        return QUARTERS * max(1, round(full * QUICK_SHARE / QUARTERS)) if self.quick else full

    def pretraining(self, seed: int, system: str) -> Job:
        steps, cfg = self.steps(system), load_config(self.recipe(system))
        options = ["DATA.TRAIN", self.train, "CHECKPOINT.EVERY_STEPS", steps // QUARTERS]
        # A budget stretches the whole schedule. A warm-up in epochs stretches by itself.
        if system in self.pretraining_steps and cfg.TRAIN.MAX_STEPS:
            options += ["TRAIN.WARMUP_STEPS", round(cfg.TRAIN.WARMUP_STEPS * steps / cfg.TRAIN.MAX_STEPS)]
        return self._training(pretrain, seed, system, system, steps, [*options, "CHECKPOINT.KEEP", QUARTERS])

    def pretrained(self, seed: int, system: str, quarter: int = QUARTERS) -> Path:
        """The folder of a system's model after 1 to 4 quarters of pre-training."""
        if quarter == QUARTERS:
            return self.folder(seed, system)
        step = self.steps(system) // QUARTERS * quarter
        return self.folder(seed, system) / f"checkpoints/step_{step:08d}"

    def finetuning(self, seed: int, init: str, labels: str, quarter: int = QUARTERS, recipe: str = "") -> Job:
        """Fine-tunes from an init, with one of ``LABEL_SETS``.

        Args:
            recipe: replaces ``finetune`` or ``finetune_few``. If there is a recipe of this name with
                ``_<init>`` appended, that one is used: other inits may need other learning rates.
        """
        recipe = recipe or ("finetune" if labels == "all" else "finetune_few")
        name = f"{recipe}-{init}" + ("" if quarter == QUARTERS else f"-{quarter}")
        if self.recipe(f"{recipe}_{init}").is_file():
            recipe = f"{recipe}_{init}"
        options: list[Any] = ["DATA.TRAIN", self.label_list(seed, labels), "DATA.VAL", self.val]
        if init != SCRATCH:
            options += ["FINETUNE.INIT", self.pretrained(seed, init, quarter)]
        job = self._training(finetune, seed, recipe, name, self.steps(recipe), options)
        return replace(job, needs=self._needs(seed, init))

    def one_frame_training(self, seed: int) -> Job:
        """Trains a model of a single frame from scratch, with all labels."""
        return self.finetuning(seed, SCRATCH, "all", recipe="one_frame")

    def probing(self, seed: int, init: str, quarter: int = QUARTERS) -> Job:
        """Probes a frozen pre-trained model or, from scratch, one with random weights."""
        checkpoint = self.untrained(seed) if init == SCRATCH else self.pretrained(seed, init, quarter)
        name = f"probe-{init}" + ("" if quarter == QUARTERS else f"-{quarter}")
        train = self.label_list(seed, "all")
        arguments = [checkpoint, ["DATA.TRAIN", train, "DATA.VAL", self.val], self.probes]
        weight = len(self.entries(self.val)) + len(self.entries(train))
        return Job(
            self.folder(seed, name), write_probe, arguments, PROBE_RESULT, weight, self._needs(seed, init)
        )

    def untrained(self, seed: int) -> Path:
        """The folder of a model with random weights."""
        return self.folder(seed, "untrained")

    def _needs(self, seed: int, init: str) -> list[Job]:
        """The pre-training that a fine-tuning or a probe starts from."""
        return [] if init == SCRATCH else [self.pretraining(seed, init)]

    def _training(
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


def write_probe(
    checkpoint: Path, options: Sequence[Any], kinds: Sequence[str], folder: Path, resume: bool
) -> None:
    """Probes a model and writes the figures. The run of a job, so it takes ``resume``; nothing is resumed."""
    write_text(folder / PROBE_RESULT, json.dumps(probe(checkpoint, options, kinds)) + "\n")


def check_same_options(jobs: Sequence[Job]) -> None:
    """Refuses to reuse a run whose options differ from those requested.

    Args:
        jobs: training runs, whose first argument is their config.

    Raises:
        InputError: a folder holds a run with other options.
    """
    for job in jobs:
        earlier = job.folder / "config.yaml"
        if earlier.is_file() and load_config(earlier).dump() != job.arguments[0].dump():
            raise InputError(
                f"{job.folder}: holds a run with other options than requested (another budget, say); give "
                "another --output, or delete this folder"
            )
