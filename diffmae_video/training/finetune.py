"""Fine-tunes a classifier on labelled clips, from a pre-trained encoder or from scratch."""

import json
import os
import shutil
import warnings
from pathlib import Path

import torch
from fvcore.common.config import CfgNode

from diffmae_video.build import build_classifier, labelled_dataset
from diffmae_video.cost.flops import count_macs
from diffmae_video.cost.least_time import describe_training_time
from diffmae_video.data import (
    class_names,
    label_targets,
    training_loader,
)
from diffmae_video.data.augment import MixAugmentation
from diffmae_video.data.lists import check_first_files
from diffmae_video.errors import InputError, InputWarning
from diffmae_video.files import atomic_path, write_text
from diffmae_video.models import Classifier
from diffmae_video.models.card import BEST, write_card
from diffmae_video.models.pretrained import CONFIG, WEIGHTS
from diffmae_video.runtime.cpus import resolve_workers
from diffmae_video.runtime.processes import start_process
from diffmae_video.runtime.stops import lost_peers
from diffmae_video.training.checkpoints import file_of
from diffmae_video.training.engine import resolve_compile, resolve_precision
from diffmae_video.training.finetuning_lists import (
    read_finetuning_lists,
    write_held_out_lists,
)
from diffmae_video.training.finetuning_loss import FinetuningLoss, class_weights
from diffmae_video.training.from_config import (
    engine_options,
    loop_options,
    pictures_for_preparation,
    plan_of,
    recognition_validation,
)
from diffmae_video.training.loop import TrainingLoop
from diffmae_video.training.optimizer import build_optimizer
from diffmae_video.training.prepare_backbone import prepare_backbone
from diffmae_video.training.run import RECIPE, VALIDATIONS, Run
from diffmae_video.training.sharded_state import EMA

FEW_STEPS = 50  # a run that is shorter is warned of (our choice)


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
            pictures = pictures_for_preparation(cfg, lists.train)
            prepare_backbone(model.encoder, pictures, cfg.TRAIN.SEED, process)
        dataset = labelled_dataset(cfg, lists.train, classes)
        plan = plan_of(cfg, lists.train, process.world)
        precision, options = resolve_precision(cfg.TRAIN.PRECISION, process.device), loop_options(cfg)
        if process.is_main:
            machine = f"{precision} on {process.world} x {process.device.type}"
            print(f"{describe_model(model, cfg)}; {len(classes)} classes; {lists}", flush=True)
            print(f"{machine}; {plan}", flush=True)
            print(f"checkpoints: {options.saves}, in {run.checkpoints.folder}", flush=True)
            warn_of_few_steps(plan.steps)
        weights = class_weights(cfg.FINETUNE.CLASS_WEIGHTS, classes, dataset.labels)
        optimizer = build_optimizer(
            model,
            cfg.TRAIN.WEIGHT_DECAY,
            tuple(cfg.TRAIN.BETAS),
            cfg.FINETUNE.LAYER_DECAY,
            cfg.TRAIN.OPTIMIZER,
        )
        compiled = resolve_compile(cfg.TRAIN.COMPILE, process.device, plan.steps, cfg.DEEPSPEED.ZERO_STAGE)
        engine = run.build_engine(model, optimizer, engine_options(cfg, precision, compiled))
        loader = training_loader(
            dataset,
            cfg.TRAIN.BATCH_SIZE,
            resolve_workers(cfg.DATA.WORKERS, process.device),
            process.rank,
            process.world,
            start=run.state.samples,
        )
        validation = None
        if lists.val and cfg.VALIDATION.EVERY_STEPS:
            validation = recognition_validation(cfg, process, lists.val, classes)
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
        loop = TrainingLoop(run, engine, plan, loss, options, validation)
        loop.train(loader, recipe=cfg.dump())
        if process.is_main:
            write_card(run.output)
            print(f"the last step's model is in {run.output}", flush=True)
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
    warn_of_few_steps(plan.steps)
    return "\n".join(lines)


def warn_of_few_steps(steps: int) -> None:
    """Warns if a run is too short to learn much."""
    if steps < FEW_STEPS:
        warnings.warn(
            f"the run is too short to learn much (steps: {steps}); set TRAIN.MAX_STEPS, raise "
            "TRAIN.EPOCHS, or lower TRAIN.ACCUMULATION or TRAIN.BATCH_SIZE",
            InputWarning,
            stacklevel=2,
        )


def describe_model(model: Classifier, cfg: CfgNode) -> str:
    """The size of a run's model, and what it starts from."""
    count = sum(p.numel() for p in model.parameters())
    start = f"on {cfg.FINETUNE.INIT}" if cfg.FINETUNE.INIT else "from scratch"
    return f"{count / 1e6:.1f} M parameters, {start}"


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
    rows = map(json.loads, (run.output / VALIDATIONS).read_text(encoding="utf-8").splitlines())
    accuracy = next((row["top1"] for row in rows if row["step"] == run.state.best_step), None)
    top1 = "" if accuracy is None else f", top-1 {accuracy:.1%}"
    print(f"best in validation: step {run.state.best_step}{top1}, in {best}", flush=True)
