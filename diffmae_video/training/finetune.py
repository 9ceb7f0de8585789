"""Fine-tunes a classifier on labelled clips, from a pre-trained encoder or from scratch."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from fvcore.common.config import CfgNode
from torch import Tensor

from diffmae_video.build import build_classifier, evaluation_dataset, labelled_dataset
from diffmae_video.classification.classify import classify
from diffmae_video.classification.metrics import accuracy, mean_average_precision
from diffmae_video.cost.flops import count_macs
from diffmae_video.cost.least_time import describe_training_time
from diffmae_video.data import (
    Entry,
    LabelledClips,
    class_names,
    label_targets,
    normalise,
    training_loader,
)
from diffmae_video.data.augment import MixAugmentation
from diffmae_video.data.lists import check_first_files, spread
from diffmae_video.errors import InputError
from diffmae_video.files import atomic_path, write_text
from diffmae_video.models import Classifier
from diffmae_video.models.card import BEST, write_card
from diffmae_video.models.pretrained import CONFIG, WEIGHTS
from diffmae_video.randomness import random_state
from diffmae_video.runtime.processes import Process, start_process
from diffmae_video.runtime.stops import lost_peers
from diffmae_video.training.checkpoints import file_of
from diffmae_video.training.engine import resolve_precision
from diffmae_video.training.finetuning_lists import (
    read_finetuning_lists,
    write_held_out_lists,
)
from diffmae_video.training.from_config import engine_options, loop_options, plan_of
from diffmae_video.training.loop import NOT_DATA, TrainingLoop
from diffmae_video.training.optimizer import build_optimizer
from diffmae_video.training.preparation import prepare_backbone
from diffmae_video.training.run import RECIPE, Run
from diffmae_video.training.sharded_state import EMA


def finetune(cfg: CfgNode, output: str | Path, resume: bool = False) -> None:
    """Fine-tunes a classifier as a config says and writes it to a folder.

    The folder gets everything that :func:`~diffmae_video.training.pretrain.pretrain` writes, a model card,
    and in ``best/`` the model with the best validation, with its recipe and card. The classes are the labels
    of DATA.TRAIN.

    Args:
        resume: continue the folder's run from its newest intact checkpoint, or start if there is none.

    Raises:
        InputError: the config, a list, the weights or the machine does not allow the run, or the
            folder holds one.
        RunEnded: the run was asked to stop, or cannot continue; see :mod:`diffmae_video.runtime.stops`.
    """
    process = start_process(cfg.TRAIN.PATIENCE)
    with lost_peers(process):
        run = Run.open(Path(output), resume, cfg.CHECKPOINT.KEEP, process)
        lists = read_finetuning_lists(cfg)
        if lists.is_held_out:
            cfg = write_held_out_lists(cfg, lists, run.output, process.is_main)
        classes = class_names(lists.train, cfg.FINETUNE.MULTI_LABEL)
        torch.manual_seed(cfg.TRAIN.SEED)
        torch.set_float32_matmul_precision("high")
        model = build_classifier(cfg, classes)
        if not cfg.FINETUNE.INIT and run.resumed_from is None:
            prepare_backbone(model.encoder, cfg, lists.train, process)
        dataset = labelled_dataset(cfg, lists.train, classes)
        plan = plan_of(cfg, lists.train, process.world)
        precision = resolve_precision(cfg.TRAIN.PRECISION, process.device)
        if process.is_main:
            machine = f"{precision} on {process.world} x {process.device.type}"
            print(f"{describe_model(model, cfg)}; {len(classes)} classes; {lists}", flush=True)
            print(f"{machine}; {plan}", flush=True)
        weights = class_weights(cfg.FINETUNE.CLASS_WEIGHTS, classes, dataset.labels)
        optimizer = build_optimizer(
            model,
            cfg.TRAIN.WEIGHT_DECAY,
            tuple(cfg.TRAIN.BETAS),
            cfg.FINETUNE.LAYER_DECAY,
            cfg.TRAIN.OPTIMIZER,
        )
        engine = run.build_engine(model, optimizer, engine_options(cfg, precision))
        loader = training_loader(
            dataset,
            cfg.TRAIN.BATCH_SIZE,
            cfg.DATA.WORKERS,
            process.rank,
            process.world,
            start=run.state.samples,
        )
        validation = None
        if lists.val and cfg.VALIDATION.EVERY_STEPS:
            validation = RecognitionValidation(cfg, process, lists.val, classes)
        loss = FinetuningLoss(
            engine,
            process.device,
            MixAugmentation(len(classes), cfg.FINETUNE.MIXUP, cfg.FINETUNE.CUTMIX, cfg.FINETUNE.SMOOTHING),
            mean=cfg.DATA.MEAN,
            std=cfg.DATA.STD,
            seed=cfg.TRAIN.SEED,
            class_weights=weights,
            multi_label=cfg.FINETUNE.MULTI_LABEL,
            generative_weight=cfg.FINETUNE.GENERATIVE,
        )
        loop = TrainingLoop(run, engine, plan, loss, loop_options(cfg), validation)
        loop.train(loader, recipe=cfg.dump())
        if process.is_main:
            write_card(run.output)
            if run.state.best_step:
                copy_best(run)


def describe_finetuning(cfg: CfgNode) -> str:
    """What :func:`finetune` would do, without doing it: model, cost, lists, steps, rate and least time.

    WORLD_SIZE in the environment is the number of processes, 1 if it is not set.

    Raises:
        InputError: the config, a list or the weights do not allow the run.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    lists = read_finetuning_lists(cfg)
    missing = {
        key: check_first_files(entries) for key, entries in (("TRAIN", lists.train), ("VAL", lists.val))
    }
    classes = class_names(lists.train, cfg.FINETUNE.MULTI_LABEL)
    label_targets(lists.val, classes, cfg.FINETUNE.MULTI_LABEL)  # reports unknown labels
    model = build_classifier(cfg, classes)
    plan = plan_of(cfg, lists.train, world)
    macs = count_macs(model.eval(), torch.zeros(1, 3, cfg.DATA.NUM_FRAMES, *cfg.DATA.SIZE))
    height, width = cfg.DATA.SIZE
    lines = [
        f"{describe_model(model, cfg)}, {macs / 1e9:.1f} GFLOPs (multiply-accumulates) per clip forward",
        f"clips of {cfg.DATA.NUM_FRAMES} frames of {height} x {width} pixels, stride {cfg.DATA.STRIDE}",
        f"{len(classes)} classes; {lists}",
        f"{plan}; on {world} process{'es' if world > 1 else ''}",
        describe_training_time(macs * plan.clips / world, plan.steps),
    ]
    lines += [f"{cfg.DATA[key]}: {line}" for key, line in missing.items() if line]
    return "\n".join(lines)


def describe_model(model: Classifier, cfg: CfgNode) -> str:
    """The size of a run's model, and what it starts from."""
    count = sum(p.numel() for p in model.parameters())
    start = f"on {cfg.FINETUNE.INIT}" if cfg.FINETUNE.INIT else "from scratch"
    return f"{count / 1e6:.1f} M parameters, {start}"


def class_weights(source: str, classes: Sequence[str], labels: Tensor) -> Tensor | None:
    """The weight of each class in the loss, float32 [classes]; None if all are 1.

    With ``balanced``, a class is weighted by the inverse of its frequency, with a mean of 1 over the samples;
    with several labels, a class's positives weigh as much as its negatives.

    Args:
        source: ``balanced``, a YAML file of class: weight, or empty.
        labels: of the training videos, int64 [n] or float [n, classes].

    Raises:
        InputError: the file is not a mapping of classes to weights, or lacks a class.
    """
    if not source:
        return None
    if source == "balanced":
        if labels.ndim == 2:
            positives = labels.sum(0)
            return (len(labels) - positives) / positives
        return len(labels) / (len(classes) * torch.bincount(labels, minlength=len(classes)).float())
    try:
        given = yaml.safe_load(Path(source).read_text(encoding="utf-8"))
        by_name = {str(name): float(weight) for name, weight in given.items()}
    except (OSError, yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"FINETUNE.CLASS_WEIGHTS: {source} is no YAML file of class: weight ({reason})"
        ) from error
    for name in classes:
        if by_name.get(name, -1.0) < 0:
            raise InputError(f"{source}: class {name!r} has no weight of 0 or more")
    return torch.tensor([by_name[name] for name in classes])


class FinetuningLoss:
    """The loss of a batch. Mixup and CutMix depend only on the seed and the batch's place in the stream.

    Cross-entropy with soft targets, or binary cross-entropy for each of several labels; weighted sums are
    divided by the number of clips. iGPT's own generative loss can be added (its joint objective).

    Args:
        mix: mixup, CutMix and label smoothing.
        mean, std: of the normalisation, one number per channel.
        seed: of the mixing.
        class_weights: float [classes]; None for all 1.
        multi_label: whether a video may have several labels.
        generative_weight: of iGPT's generative loss; 0 leaves it out.
    """

    def __init__(
        self,
        engine: Any,
        device: torch.device,
        mix: MixAugmentation,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        seed: int,
        class_weights: Tensor | None,
        multi_label: bool,
        generative_weight: float,
    ) -> None:
        self.engine, self.device, self.mix = engine, device, mix
        self.mean, self.std, self.seed = mean, std, seed
        self.class_weights = None if class_weights is None else class_weights.to(device)
        self.multi_label, self.generative_weight = multi_label, generative_weight

    def __call__(self, batch: LabelledClips) -> Tensor:
        clips = normalise(batch.clips.to(self.device, non_blocking=True), self.mean, self.std)
        labels = batch.labels.to(self.device, non_blocking=True)
        clips, targets = self.mix(clips, labels, random_state(self.seed, batch.samples[0].position, NOT_DATA))
        if not self.generative_weight:
            return classification_loss(self.engine(clips), targets, self.class_weights, self.multi_label)
        logits, generative = self.engine(clips, generative=True)
        loss = classification_loss(logits, targets, self.class_weights, self.multi_label)
        return loss + self.generative_weight * generative


def classification_loss(logits: Tensor, targets: Tensor, weights: Tensor | None, multi_label: bool) -> Tensor:
    """The loss in float32. With several labels ``weights`` apply to positives.

    Args:
        logits, targets: [B, classes].
        weights: [classes].
    """
    logits = logits.float()
    if multi_label:
        return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights)
    return F.cross_entropy(logits, targets, weight=weights)


class RecognitionValidation:
    """Measures the loss and the accuracy on one central view of each held-out video.

    Args:
        entries: the held-out videos, of which VALIDATION.CLIPS are used, spread evenly. One that cannot be
            read is left out, with a line on stderr.
        classes: of the model.

    Raises:
        InputError: an entry has no label, or one that is not among the classes.
    """

    def __init__(
        self, cfg: CfgNode, process: Process, entries: Sequence[Entry], classes: Sequence[str]
    ) -> None:
        self.cfg, self.process = cfg, process
        self.multi_label = cfg.FINETUNE.MULTI_LABEL
        chosen = spread(entries, cfg.VALIDATION.CLIPS)
        self.labels = label_targets(chosen, classes, self.multi_label)
        self.dataset = evaluation_dataset(cfg, chosen, views=(1, 1), policy="skip")
        self.reported: set[str] = set()  # faults that were reported before

    def measure(self, model: Classifier) -> dict[str, float]:
        """``loss`` without smoothing, ``top1`` and, with more than five classes, ``top5``, from 0 to 1.

        With several labels, ``map`` (mean average precision) replaces top1 and top5.
        """
        batch = self.cfg.EVALUATION.BATCH_SIZE
        found = classify(model, self.dataset, self.process, batch, self.cfg.DATA.WORKERS)
        for fault in sorted({*found.faults} - {""} - self.reported) if self.process.is_main else ():
            self.reported.add(fault)
            print(f"validation goes on without a video: {fault}", file=sys.stderr, flush=True)
        logits, labels = found.logits[found.was_read], self.labels[found.was_read]
        if not len(logits):
            raise InputError(f"{self.cfg.DATA.VAL}: none of its videos can be read: {found.faults[0]}")
        if self.multi_label:
            loss = F.binary_cross_entropy_with_logits(logits, labels)
            return {"loss": float(loss), "map": mean_average_precision(logits, labels)}
        figures = {"loss": float(F.cross_entropy(logits, labels)), "top1": accuracy(logits, labels, 1)}
        return figures | ({"top5": accuracy(logits, labels, 5)} if logits.shape[1] > 5 else {})

    def cost(self, figures: dict[str, float]) -> float:
        """1 - top1, or 1 - map with several labels: the lowest is best."""
        return 1 - figures["map" if self.multi_label else "top1"]

    def picture(self, model: Classifier) -> np.ndarray | None:
        return None


def copy_best(run: Run) -> None:
    """Copies the model of the best checkpoint into the run's ``best/``, with its recipe and a model card.

    Raises:
        InputError: the checkpoint was deleted meanwhile.
        OSError: a file cannot be written; the checkpoint itself is kept.
    """
    source, best = run.checkpoints.path(run.state.best_step), run.output / BEST
    if not (source / WEIGHTS).is_file():
        raise InputError(
            f"{source}: was best in validation and is gone, so {best} is not written; the last step's model "
            f"is in {run.output}"
        )
    for name in (CONFIG, WEIGHTS, file_of(EMA)):
        if (source / name).is_file():
            with atomic_path(best / name) as aside:
                shutil.copyfile(source / name, aside)
    write_text(best / RECIPE, (run.output / RECIPE).read_text(encoding="utf-8"))
    write_card(best)
    print(f"best in validation: step {run.state.best_step}, in {best}", flush=True)
