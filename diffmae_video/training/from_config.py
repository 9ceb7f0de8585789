"""From a config to the plain arguments of a training run's parts."""

from collections.abc import Sequence

from fvcore.common.config import CfgNode

from diffmae_video.build import evaluation_dataset, mask_arguments, view_dataset
from diffmae_video.config import RECIPES
from diffmae_video.data import Entry, ViewDataset, label_targets, read_list, spread
from diffmae_video.decoding.file_types import is_image_name
from diffmae_video.errors import InputError
from diffmae_video.runtime.cpus import resolve_workers
from diffmae_video.runtime.processes import Process
from diffmae_video.training.engine import EngineOptions
from diffmae_video.training.loop import LoopOptions
from diffmae_video.training.pretraining_validation import MAX_PER_VIDEO, PretrainingValidation, choose_entries
from diffmae_video.training.recognition_validation import RecognitionValidation
from diffmae_video.training.step_schedule import Plan

PREPARATION_PICTURES = 1024  # at most as many are read (our choice)


def plan_of(cfg: CfgNode, entries: Sequence[Entry], world: int) -> Plan:
    """The plan for a training set on ``world`` processes.

    Raises:
        InputError: the run would have no step.
    """
    train, count = cfg.TRAIN, len(entries)
    videos = train.BATCH_SIZE * train.ACCUMULATION * world
    steps = train.MAX_STEPS or round(train.EPOCHS * count / videos)
    if steps < 1:
        raise InputError("TRAIN.EPOCHS and TRAIN.MAX_STEPS: the run would have no step; raise one of them")
    warmup = train.WARMUP_STEPS or round(train.WARMUP_EPOCHS * count / videos)
    return Plan(
        steps=steps,
        warmup=min(warmup, steps - 1),
        unit="picture" if all(is_image_name(entry.path) for entry in entries) else "video",
        count=count,
        videos=videos,
        clips=videos * cfg.DATA.REPEATS,
        base_lr=train.BASE_LR,
        count_repeats=train.COUNT_REPEATS,
    )


def engine_options(cfg: CfgNode, precision: str, compiled: bool = False) -> EngineOptions:
    """How DeepSpeed trains a config's model.

    Args:
        precision: see :func:`~diffmae_video.training.engine.resolve_precision`.
        compiled: see :func:`~diffmae_video.training.engine.resolve_compile`.
    """
    return EngineOptions(
        precision=precision,
        micro_batch=cfg.TRAIN.BATCH_SIZE * cfg.DATA.REPEATS,
        accumulation=cfg.TRAIN.ACCUMULATION,
        clip_grad=cfg.TRAIN.CLIP_GRAD,
        reduce_in_float32=cfg.DEEPSPEED.FLOAT32_REDUCTION,
        zero_stage=cfg.DEEPSPEED.ZERO_STAGE,
        deepspeed_file=cfg.DEEPSPEED.CONFIG
        or str(RECIPES / f"deepspeed/zero{cfg.DEEPSPEED.ZERO_STAGE}.json"),
        has_ema=cfg.TRAIN.EMA > 0,
        checkpoint_activations=cfg.TRAIN.ACTIVATION_CHECKPOINTING,
        compile=compiled,
        patience=cfg.TRAIN.PATIENCE,
    )


def loop_options(cfg: CfgNode) -> LoopOptions:
    """How a config's run steps, logs, saves and validates."""
    return LoopOptions(
        seed=cfg.TRAIN.SEED,
        batch_size=cfg.TRAIN.BATCH_SIZE,
        accumulation=cfg.TRAIN.ACCUMULATION,
        ema_decay=cfg.TRAIN.EMA,
        log_every=cfg.TRAIN.LOG_EVERY,
        save_every=cfg.CHECKPOINT.EVERY_STEPS,
        save_minutes=cfg.CHECKPOINT.EVERY_MINUTES,
        validate_every=cfg.VALIDATION.EVERY_STEPS,
        max_bad_steps=cfg.TRAIN.MAX_BAD_STEPS,
        max_bad_share=cfg.DATA.MAX_BAD_SHARE,
        patience=cfg.TRAIN.PATIENCE,
    )


def pictures_for_preparation(cfg: CfgNode, entries: Sequence[Entry]) -> ViewDataset:
    """One view each of up to ``PREPARATION_PICTURES`` entries, spread evenly over the list."""
    return view_dataset(cfg, spread(entries, PREPARATION_PICTURES), 1, policy="skip")


def pretraining_validation(cfg: CfgNode, process: Process) -> PretrainingValidation:
    """The held-out clips that a config's pre-training is measured on.

    Raises:
        InputError: DATA.VAL cannot be read.
    """
    listed = read_list(cfg.DATA.VAL, cfg.DATA.ROOT, images=cfg.DATA.NUM_FRAMES == 1)
    entries = choose_entries(listed, cfg.VALIDATION.CLIPS)
    per_video = min(MAX_PER_VIDEO, max(1, cfg.VALIDATION.CLIPS // len(entries)))
    return PretrainingValidation(
        view_dataset(cfg, entries, per_video),
        process,
        batch_size=cfg.TRAIN.BATCH_SIZE * cfg.DATA.REPEATS,
        mask=mask_arguments(cfg),
        num_pictures=cfg.VALIDATION.PICTURES,
    )


def recognition_validation(
    cfg: CfgNode, process: Process, held_out: Sequence[Entry], classes: Sequence[str]
) -> RecognitionValidation:
    """The held-out videos that a config's fine-tuning is measured on, one central view of each.

    Raises:
        InputError: an entry has no label, or one that is not among the classes.
    """
    entries = spread(held_out, cfg.VALIDATION.CLIPS)
    return RecognitionValidation(
        evaluation_dataset(cfg, entries, views=(1, 1), policy="skip"),
        label_targets(entries, classes, cfg.FINETUNE.MULTI_LABEL),
        process,
        batch_size=cfg.EVALUATION.BATCH_SIZE,
        workers=resolve_workers(cfg.DATA.WORKERS, process.device),
        multi_label=cfg.FINETUNE.MULTI_LABEL,
    )
