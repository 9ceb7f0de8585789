"""From a config to plain arguments: the only place where the two meet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode
from torch.utils.data import DataLoader

from diffmae_video.data import (
    ClipDataset,
    ClipSampler,
    Entry,
    LabelledDataset,
    TrainingClips,
    ViewDataset,
    label_targets,
    read_list,
    training_loader,
)
from diffmae_video.data.augment import ClipAugmentation
from diffmae_video.decoding import BACKENDS
from diffmae_video.errors import InputError
from diffmae_video.masks import Mask
from diffmae_video.models import (
    ADM,
    DDPM,
    IGPT,
    MAE,
    Backbone,
    Classifier,
    DenoisingModel,
    DiffMAE,
    Encoder,
    MaskedAutoencoder,
    PixelGPT,
    UNetEncoder,
    load_backbone,
)
from diffmae_video.models.encoder import ENCODER_SIZES
from diffmae_video.models.weights.files import read_config
from diffmae_video.tokens import grid_of

OBJECTIVES = ("diffmae", "mae", "ddpm", "adm", "igpt")
Model = MaskedAutoencoder | DenoisingModel | IGPT


def build_model(cfg: CfgNode) -> Model:
    """The model of a config, with fresh weights.

    Raises:
        InputError: an unknown name, or sizes that do not fit together.
    """
    _check_objective(cfg)
    decoder, objective = cfg.MODEL.DECODER, cfg.MODEL.OBJECTIVE
    pixels: dict[str, Any] = {
        **_clip_arguments(cfg),
        "mean": list(cfg.DATA.MEAN),
        "std": list(cfg.DATA.STD),
    }
    diffusion: dict[str, Any] = {
        "schedule": {
            "kind": cfg.DIFFUSION.SCHEDULE,
            "rho": cfg.DIFFUSION.RHO,
            "timesteps": cfg.DIFFUSION.TIMESTEPS,
        },
        "prediction": cfg.MODEL.PREDICTION,
    }
    if objective == "ddpm":
        return DDPM(**pixels, **diffusion, encoder=_encoder_arguments(cfg))
    if objective == "adm":
        return ADM(**pixels, **diffusion, encoder=_unet_arguments(cfg))
    if objective == "igpt":
        return IGPT(**pixels, encoder=_gpt_arguments(cfg))
    shared: dict[str, Any] = {
        **pixels,
        "encoder": _encoder_arguments(cfg),
        "decoder": {
            "width": decoder.WIDTH,
            "depth": decoder.DEPTH,
            "heads": decoder.HEADS or max(1, decoder.WIDTH // 64),
            "positions": decoder.POSITIONS,
        },
        "mask": mask_arguments(cfg),
        "normalize_target": cfg.MODEL.NORM_TARGET,
    }
    if objective == "mae":
        return MAE(**shared)
    return DiffMAE(
        **{**shared, "decoder": {"kind": decoder.KIND, **shared["decoder"]}},
        **diffusion,
        decode_fraction=decoder.FRACTION,
    )


def _check_objective(cfg: CfgNode) -> None:
    if cfg.MODEL.OBJECTIVE not in OBJECTIVES:
        raise InputError(
            f"MODEL.OBJECTIVE: unknown objective {cfg.MODEL.OBJECTIVE!r}; there are {', '.join(OBJECTIVES)}"
        )


def build_classifier(cfg: CfgNode, classes: Sequence[str]) -> Classifier:
    """The classifier of a config: on the encoder of FINETUNE.INIT, or from scratch, with a fresh head.

    Raises:
        InputError: FINETUNE.INIT cannot be read, expects pixels normalised otherwise, or does not fit.
    """
    finetune, data = cfg.FINETUNE, cfg.DATA
    if finetune.INIT:
        backbone = load_backbone(finetune.INIT, data.SIZE, data.NUM_FRAMES)
        own = read_config(Path(finetune.INIT))
        for name in ("mean", "std"):
            if name in own and not np.allclose(own[name], data[name.upper()]):
                raise InputError(
                    f"{finetune.INIT}: was trained on pixels normalised with {name} {own[name]}; set "
                    f"DATA.{name.upper()} to that"
                )
    else:
        backbone = _fresh_backbone(cfg)
    model = Classifier.on(
        backbone,
        classes,
        drop_path=finetune.DROP_PATH,
        pool=finetune.POOL,
        dropout=finetune.DROPOUT,
        multi_label=finetune.MULTI_LABEL,
        mean=list(data.MEAN),
        std=list(data.STD),
    )
    if isinstance(model.encoder, PixelGPT):
        model.encoder.head.requires_grad_(finetune.GENERATIVE > 0)
    elif finetune.GENERATIVE:
        raise InputError(
            f"FINETUNE.GENERATIVE {finetune.GENERATIVE}: is for models of igpt, and this one is a "
            f"{type(model.encoder).__name__}; set it to 0"
        )
    if finetune.FREEZE >= 0:
        model.freeze(finetune.FREEZE)
    return model


def _fresh_backbone(cfg: CfgNode) -> Backbone:
    _check_objective(cfg)
    if cfg.MODEL.OBJECTIVE == "adm":
        return UNetEncoder(**_clip_arguments(cfg), **_unet_arguments(cfg))
    if cfg.MODEL.OBJECTIVE == "igpt":
        pixels: dict[str, Any] = {"mean": list(cfg.DATA.MEAN), "std": list(cfg.DATA.STD)}
        return PixelGPT(**_clip_arguments(cfg), **_gpt_arguments(cfg), **pixels)
    return Encoder(**_clip_arguments(cfg), **_encoder_arguments(cfg))


def _clip_arguments(cfg: CfgNode) -> dict[str, Any]:
    return {
        "image_size": list(cfg.DATA.SIZE),
        "num_frames": cfg.DATA.NUM_FRAMES,
        "patch": list(cfg.MODEL.PATCH),
    }


def _unet_arguments(cfg: CfgNode) -> dict[str, Any]:
    adm = cfg.MODEL.ADM
    return {
        "width": adm.WIDTH,
        "multipliers": list(adm.MULTIPLIERS),
        "resnets": adm.RESNETS,
        "attention": list(adm.ATTENTION),
        "dropout": adm.DROPOUT,
    }


def _gpt_arguments(cfg: CfgNode) -> dict[str, Any]:
    shape = {name: _encoder_arguments(cfg)[name] for name in ("width", "depth", "heads")}
    return {**shape, "colours": cfg.MODEL.IGPT.COLOURS, "layer": cfg.MODEL.IGPT.LAYER}


def _encoder_arguments(cfg: CfgNode) -> dict[str, Any]:
    encoder = cfg.MODEL.ENCODER
    if encoder.SIZE not in ENCODER_SIZES:
        raise InputError(
            f"MODEL.ENCODER.SIZE: unknown size {encoder.SIZE!r}; there are {', '.join(ENCODER_SIZES)}"
        )
    width, depth, heads = ENCODER_SIZES[encoder.SIZE]
    return {
        "width": encoder.WIDTH or width,
        "depth": encoder.DEPTH or depth,
        "heads": encoder.HEADS or (max(1, encoder.WIDTH // 64) if encoder.WIDTH else heads),
        "class_token": encoder.CLASS_TOKEN,
        "positions": encoder.POSITIONS,
    }


def mask_arguments(cfg: CfgNode) -> dict[str, Any]:
    """Arguments of ``Mask.draw`` but for batch and grid."""
    return {"kind": cfg.MASK.KIND, "ratio": cfg.MASK.RATIO}


def build_dataset(cfg: CfgNode) -> ClipDataset:
    """The training clips of a config.

    Raises:
        InputError: no list is given, it cannot be read, or sizes do not fit the patch.
    """
    entries = training_entries(cfg)
    patch = (cfg.MODEL.PATCH[0], cfg.MODEL.PATCH[1], cfg.MODEL.PATCH[2])
    grid = grid_of((cfg.DATA.NUM_FRAMES, *cfg.DATA.SIZE), patch)
    Mask.draw(batch=1, grid=grid, **mask_arguments(cfg))  # what cannot be drawn is told now, not by a worker
    return ClipDataset(
        entries,
        clip_sampler(cfg),
        size=cfg.DATA.SIZE,
        repeats=cfg.DATA.REPEATS,
        patch=patch,
        mask=mask_arguments(cfg),
        timesteps=cfg.DIFFUSION.TIMESTEPS,
        crop_scale=cfg.DATA.CROP_SCALE,
        flip=cfg.DATA.FLIP,
        seed=cfg.TRAIN.SEED,
        backend=cfg.DATA.BACKEND,
        short_side=cfg.DATA.SHORT_SIDE,
        timeout=cfg.DATA.TIMEOUT,
        crop_on_device=cfg.DATA.CROP_ON_DEVICE,
    )


def clip_sampler(cfg: CfgNode) -> ClipSampler:
    """The temporal layout of a config's clips."""
    return ClipSampler(cfg.DATA.NUM_FRAMES, cfg.DATA.STRIDE, cfg.DATA.FPS)


def training_entries(cfg: CfgNode) -> list[Entry]:
    """What DATA.TRAIN lists.

    Raises:
        InputError: no list is given, it cannot be read, or there is no such reader.
    """
    if not cfg.DATA.TRAIN:
        raise InputError("DATA.TRAIN: give a list or a folder of videos, say DATA.TRAIN videos/")
    if cfg.DATA.BACKEND not in BACKENDS:
        raise InputError(
            f"DATA.BACKEND: unknown reader {cfg.DATA.BACKEND!r}; there are {', '.join(BACKENDS)}"
        )
    return read_list(cfg.DATA.TRAIN, cfg.DATA.ROOT, images=cfg.DATA.NUM_FRAMES == 1)


def labelled_dataset(cfg: CfgNode, entries: Sequence[Entry], classes: Sequence[str]) -> LabelledDataset:
    """The training clips of labelled entries, augmented as FINETUNE says.

    Raises:
        InputError: an entry has no label, or one that is not among the classes.
    """
    data, finetune = cfg.DATA, cfg.FINETUNE
    augment = ClipAugmentation(
        data.SIZE, data.CROP_SCALE, data.FLIP, tuple(finetune.RAND_AUGMENT), finetune.ERASE
    )
    return LabelledDataset(
        entries,
        label_targets(entries, classes, finetune.MULTI_LABEL),
        clip_sampler(cfg),
        augment,
        repeats=data.REPEATS,
        seed=cfg.TRAIN.SEED,
        backend=data.BACKEND,
        short_side=data.SHORT_SIDE,
        timeout=data.TIMEOUT,
    )


def view_dataset(
    cfg: CfgNode, entries: Sequence[Entry], temporal: int, spatial: int = 1, policy: str = "fail"
) -> ViewDataset:
    """Evenly spread views of entries, as the config samples and decodes them.

    Args:
        temporal, spatial, policy: see :class:`~diffmae_video.data.views.ViewDataset`.
    """
    data = cfg.DATA
    return ViewDataset(
        entries,
        clip_sampler(cfg),
        data.SIZE,
        temporal=temporal,
        spatial=spatial,
        policy=policy,
        backend=data.BACKEND,
        short_side=data.SHORT_SIDE,
        timeout=data.TIMEOUT,
    )


def evaluation_dataset(
    cfg: CfgNode, entries: Sequence[Entry], views: Sequence[int] = (), policy: str = ""
) -> ViewDataset:
    """The views of entries that an evaluation looks at.

    Args:
        views, policy: in place of EVALUATION's.
    """
    temporal, spatial = views or cfg.EVALUATION.VIEWS
    policy = policy or cfg.EVALUATION.POLICY
    return view_dataset(cfg, entries, temporal, spatial, "fail" if policy == "fail" else "skip")


def build_loader(cfg: CfgNode, rank: int = 0, world: int = 1, start: int = 0) -> DataLoader[TrainingClips]:
    """An endless loader of a config's training clips; ``start`` samples are done already."""
    return training_loader(build_dataset(cfg), cfg.TRAIN.BATCH_SIZE, cfg.DATA.WORKERS, rank, world, start)
