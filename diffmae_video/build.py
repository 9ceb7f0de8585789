"""Builds models and data sets from a config, whose sections it turns into plain arguments."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch.overrides import TorchFunctionMode
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
from diffmae_video.data.mask_mix import MaskMix
from diffmae_video.data.random_clips import Reading
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
    DiffMAE,
    Encoder,
    PixelGPT,
    PretrainingModel,
    UNetEncoder,
    load_backbone,
)
from diffmae_video.models.encoder import ENCODER_SIZES
from diffmae_video.models.weights.files import read_config
from diffmae_video.runtime.cpus import resolve_workers
from diffmae_video.runtime.device import default_device
from diffmae_video.tokens import Triple, grid_of


def build_model(cfg: CfgNode) -> PretrainingModel:
    """The model of a config, with fresh weights.

    Raises:
        InputError: an unknown name, or sizes that do not fit together.
    """
    _check_objective(cfg)
    return OBJECTIVES[cfg.MODEL.OBJECTIVE](cfg)


def meta_model(cfg: CfgNode) -> PretrainingModel:
    """As :func:`build_model`, on the meta device: all shapes, but no memory for weights."""
    with WeightsOnMeta():
        return build_model(cfg).to("meta")


class WeightsOnMeta(TorchFunctionMode):
    """``torch.empty``, which allocates weights, returns tensors on the meta device.

    ``with torch.device("meta")`` would do so for every tensor, but constructors read the values of some.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        return func(*args, **({**kwargs, "device": "meta"} if func is torch.empty else kwargs))


def _check_objective(cfg: CfgNode) -> None:
    if cfg.MODEL.OBJECTIVE not in OBJECTIVES:
        raise InputError(
            f"MODEL.OBJECTIVE: unknown objective {cfg.MODEL.OBJECTIVE!r}; choose from {', '.join(OBJECTIVES)}"
        )


def _diffmae(cfg: CfgNode) -> DiffMAE:
    decoder = {"kind": cfg.MODEL.DECODER.KIND, **_decoder_arguments(cfg)}
    return DiffMAE(
        **pixel_arguments(cfg),
        **diffusion_arguments(cfg),
        encoder=encoder_arguments(cfg),
        decoder=decoder,
        mask=mask_arguments(cfg),
        normalize_target=cfg.MODEL.NORM_TARGET,
        decode_fraction=cfg.MODEL.DECODER.FRACTION,
        token_timesteps=cfg.DIFFUSION.PER_TOKEN,
        weighting=cfg.DIFFUSION.WEIGHTING,
        shared_noise=cfg.DIFFUSION.SHARED_NOISE,
    )


def _mae(cfg: CfgNode) -> MAE:
    return MAE(
        **pixel_arguments(cfg),
        encoder=encoder_arguments(cfg),
        decoder=_decoder_arguments(cfg),
        mask=mask_arguments(cfg),
        normalize_target=cfg.MODEL.NORM_TARGET,
    )


# A new objective is one more line; docs/extending.md.
OBJECTIVES: dict[str, Callable[[CfgNode], PretrainingModel]] = {
    "diffmae": _diffmae,
    "mae": _mae,
    "ddpm": lambda cfg: DDPM(
        **pixel_arguments(cfg), **diffusion_arguments(cfg), encoder=encoder_arguments(cfg)
    ),
    "adm": lambda cfg: ADM(**pixel_arguments(cfg), **diffusion_arguments(cfg), encoder=_unet_arguments(cfg)),
    "igpt": lambda cfg: IGPT(**pixel_arguments(cfg), encoder=_gpt_arguments(cfg)),
}


def build_classifier(cfg: CfgNode, classes: Sequence[str]) -> Classifier:
    """The classifier of a config, on the encoder of FINETUNE.INIT or a fresh one, with a fresh head.

    Raises:
        InputError: FINETUNE.INIT cannot be read, was trained on other normalisation, or does not fit.
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
    model.encoder.set_generative(finetune.GENERATIVE > 0)
    if finetune.FREEZE >= 0:
        model.freeze(finetune.FREEZE)
    return model


def _fresh_backbone(cfg: CfgNode) -> Backbone:
    _check_objective(cfg)
    if cfg.MODEL.OBJECTIVE == "adm":
        return UNetEncoder(**_clip_arguments(cfg), **_unet_arguments(cfg))
    if cfg.MODEL.OBJECTIVE == "igpt":
        return PixelGPT(**pixel_arguments(cfg), **_gpt_arguments(cfg))
    return Encoder(**_clip_arguments(cfg), **encoder_arguments(cfg))


def _clip_arguments(cfg: CfgNode) -> dict[str, Any]:
    return {
        "image_size": list(cfg.DATA.SIZE),
        "num_frames": cfg.DATA.NUM_FRAMES,
        "patch": list(cfg.MODEL.PATCH),
    }


def pixel_arguments(cfg: CfgNode) -> dict[str, Any]:
    """The size of the clips, the patch, and the normalisation: every model takes these."""
    return {**_clip_arguments(cfg), "mean": list(cfg.DATA.MEAN), "std": list(cfg.DATA.STD)}


def diffusion_arguments(cfg: CfgNode) -> dict[str, Any]:
    """``schedule`` and ``prediction`` of the models that denoise."""
    diffusion = cfg.DIFFUSION
    schedule = {
        "kind": diffusion.SCHEDULE,
        "rho": diffusion.RHO,
        "timesteps": diffusion.TIMESTEPS,
        "draw": diffusion.DRAW,
    }
    return {"schedule": schedule, "prediction": cfg.MODEL.PREDICTION}


def _decoder_arguments(cfg: CfgNode) -> dict[str, Any]:
    decoder = cfg.MODEL.DECODER
    return {
        "width": decoder.WIDTH,
        "depth": decoder.DEPTH,
        "heads": decoder.HEADS or max(1, decoder.WIDTH // 64),
        "positions": decoder.POSITIONS,
        **_block_arguments(cfg),
    }


def _block_arguments(cfg: CfgNode) -> dict[str, Any]:
    return {"block": cfg.MODEL.BLOCK, "qk_norm": cfg.MODEL.QK_NORM}


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
    shape = {name: encoder_arguments(cfg)[name] for name in ("width", "depth", "heads")}
    return {**shape, "colours": cfg.MODEL.IGPT.COLOURS, "layer": cfg.MODEL.IGPT.LAYER}


def encoder_arguments(cfg: CfgNode) -> dict[str, Any]:
    """Arguments of :class:`~diffmae_video.models.encoder.Encoder` besides clip size and patch.

    Raises:
        InputError: an unknown size.
    """
    encoder = cfg.MODEL.ENCODER
    if encoder.SIZE not in ENCODER_SIZES:
        raise InputError(
            f"MODEL.ENCODER.SIZE: unknown size {encoder.SIZE!r}; choose from {', '.join(ENCODER_SIZES)}"
        )
    width, depth, heads = ENCODER_SIZES[encoder.SIZE]
    return {
        "width": encoder.WIDTH or width,
        "depth": encoder.DEPTH or depth,
        "heads": encoder.HEADS or (max(1, encoder.WIDTH // 64) if encoder.WIDTH else heads),
        "class_token": encoder.CLASS_TOKEN,
        "positions": encoder.POSITIONS,
        **_block_arguments(cfg),
    }


def mask_arguments(cfg: CfgNode) -> dict[str, Any]:
    """``kind`` and ``ratio`` for ``Mask.draw``."""
    return {"kind": cfg.MASK.KIND, "ratio": cfg.MASK.RATIO}


def build_dataset(cfg: CfgNode, model: PretrainingModel, decode_on_device: bool = False) -> ClipDataset:
    """The training clips of a config, with the masks and timesteps that the model's objective reads.

    Args:
        decode_on_device: see :func:`~diffmae_video.data.device_decoding.resolve_device_decoding`.

    Raises:
        InputError: DATA.TRAIN is empty or cannot be read, or sizes do not fit the patch.
    """
    entries = training_entries(cfg)
    patch = (cfg.MODEL.PATCH[0], cfg.MODEL.PATCH[1], cfg.MODEL.PATCH[2])
    grid = grid_of((cfg.DATA.NUM_FRAMES, *cfg.DATA.SIZE), patch)
    mask_mix = None
    if model.mask is not None:  # report a mask that cannot be drawn now, not from a worker
        Mask.draw(batch=1, grid=grid, **model.mask)
        mask_mix = _mask_mix(cfg, grid)
    return ClipDataset(
        entries,
        clip_sampler(cfg),
        size=cfg.DATA.SIZE,
        patch=patch,
        mask=model.mask,
        mask_mix=mask_mix,
        schedule=model.schedule,
        token_timesteps=model.token_timesteps,
        crop_scale=cfg.DATA.CROP_SCALE,
        flip=cfg.DATA.FLIP,
        colour_jitter=cfg.DATA.COLOUR_JITTER,
        crop_on_device=cfg.DATA.CROP_ON_DEVICE,
        decode_on_device=decode_on_device,
        **_reading(cfg),
    )


def _reading(cfg: CfgNode) -> Reading:
    data = cfg.DATA
    return Reading(
        repeats=data.REPEATS,
        seed=cfg.TRAIN.SEED,
        backend=data.BACKEND,
        short_side=data.SHORT_SIDE,
        timeout=data.TIMEOUT,
    )


def _mask_mix(cfg: CfgNode, grid: Triple) -> MaskMix | None:
    """The mixture of a config's masks; None without one.

    Raises:
        InputError: MASK.MIX names an unknown kind, or one that a ratio leaves nothing to see or to mask.
    """
    mix = MaskMix(tuple(cfg.MASK.MIX), cfg.MASK.MIX_SHARE, tuple(cfg.MASK.MIX_RATIO))
    for kind in mix.kinds:
        for ratio in mix.ratio:
            try:
                Mask.draw(kind, batch=1, grid=grid, ratio=ratio)
            except InputError as error:
                raise InputError(f"MASK.MIX {kind} with a ratio of {ratio}: {error}") from error
    return mix if mix.kinds else None


def clip_sampler(cfg: CfgNode) -> ClipSampler:
    """The temporal layout of a config's clips."""
    return ClipSampler(cfg.DATA.NUM_FRAMES, cfg.DATA.STRIDE, cfg.DATA.FPS)


def training_entries(cfg: CfgNode) -> list[Entry]:
    """The entries of DATA.TRAIN.

    Raises:
        InputError: DATA.TRAIN is empty or cannot be read, or the reader is unknown.
    """
    if not cfg.DATA.TRAIN:
        raise InputError("DATA.TRAIN: give a list or a folder of videos, for example DATA.TRAIN videos/")
    if cfg.DATA.BACKEND not in BACKENDS:
        raise InputError(
            f"DATA.BACKEND: unknown reader {cfg.DATA.BACKEND!r}; there are {', '.join(BACKENDS)}"
        )
    return read_list(cfg.DATA.TRAIN, cfg.DATA.ROOT, images=cfg.DATA.NUM_FRAMES == 1)


def labelled_dataset(cfg: CfgNode, entries: Sequence[Entry], classes: Sequence[str]) -> LabelledDataset:
    """The training clips of labelled entries, with FINETUNE's augmentation.

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
        **_reading(cfg),
    )


def view_dataset(
    cfg: CfgNode, entries: Sequence[Entry], temporal: int, spatial: int = 1, policy: str = "fail"
) -> ViewDataset:
    """Views of entries, see :class:`~diffmae_video.data.views.ViewDataset`, read as a config says."""
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
    """The views of entries that an evaluation uses.

    Args:
        views, policy: replace EVALUATION's.
    """
    temporal, spatial = views or cfg.EVALUATION.VIEWS
    policy = policy or cfg.EVALUATION.POLICY
    return view_dataset(cfg, entries, temporal, spatial, "fail" if policy == "fail" else "skip")


def build_loader(
    cfg: CfgNode, model: PretrainingModel, rank: int = 0, world: int = 1, start: int = 0
) -> DataLoader[TrainingClips]:
    """An endless loader of a config's training clips for a model; it skips the first ``start`` samples."""
    return training_loader(
        build_dataset(cfg, model),
        cfg.TRAIN.BATCH_SIZE,
        resolve_workers(cfg.DATA.WORKERS, default_device()),
        rank,
        world,
        start,
        cfg.TRAIN.ACCUMULATION,
    )
