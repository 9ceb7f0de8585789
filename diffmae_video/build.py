"""From a config to plain arguments: the only place where the two meet."""

from __future__ import annotations

from typing import Any

from fvcore.common.config import CfgNode
from torch.utils.data import DataLoader

from diffmae_video.data import ClipDataset, TrainingClips, read_list, training_loader
from diffmae_video.errors import InputError
from diffmae_video.masks import Mask
from diffmae_video.models import MAE, DiffMAE, MaskedAutoencoder
from diffmae_video.models.encoder import ENCODER_SIZES
from diffmae_video.tokens import grid_of

OBJECTIVES = ("diffmae", "mae")


def build_model(cfg: CfgNode) -> MaskedAutoencoder:
    """The model of a config, with fresh weights.

    Raises:
        InputError: an unknown name, or sizes that do not fit together.
    """
    if cfg.MODEL.OBJECTIVE not in OBJECTIVES:
        raise InputError(
            f"MODEL.OBJECTIVE: unknown objective {cfg.MODEL.OBJECTIVE!r}; there are {', '.join(OBJECTIVES)}"
        )
    encoder, decoder = cfg.MODEL.ENCODER, cfg.MODEL.DECODER
    if encoder.SIZE not in ENCODER_SIZES:
        raise InputError(
            f"MODEL.ENCODER.SIZE: unknown size {encoder.SIZE!r}; there are {', '.join(ENCODER_SIZES)}"
        )
    width, depth, heads = ENCODER_SIZES[encoder.SIZE]
    shared: dict[str, Any] = {
        "image_size": list(cfg.DATA.SIZE),
        "num_frames": cfg.DATA.NUM_FRAMES,
        "patch": list(cfg.MODEL.PATCH),
        "encoder": {
            "width": encoder.WIDTH or width,
            "depth": encoder.DEPTH or depth,
            "heads": encoder.HEADS or (max(1, encoder.WIDTH // 64) if encoder.WIDTH else heads),
            "class_token": encoder.CLASS_TOKEN,
            "positions": encoder.POSITIONS,
        },
        "decoder": {
            "width": decoder.WIDTH,
            "depth": decoder.DEPTH,
            "heads": decoder.HEADS or max(1, decoder.WIDTH // 64),
            "positions": decoder.POSITIONS,
        },
        "mask": mask_arguments(cfg),
        "normalize_target": cfg.MODEL.NORM_TARGET,
        "mean": list(cfg.DATA.MEAN),
        "std": list(cfg.DATA.STD),
    }
    if cfg.MODEL.OBJECTIVE == "mae":
        return MAE(**shared)
    return DiffMAE(
        **{**shared, "decoder": {"kind": decoder.KIND, **shared["decoder"]}},
        schedule={
            "kind": cfg.DIFFUSION.SCHEDULE,
            "rho": cfg.DIFFUSION.RHO,
            "timesteps": cfg.DIFFUSION.TIMESTEPS,
        },
        prediction=cfg.MODEL.PREDICTION,
        decode_fraction=decoder.FRACTION,
    )


def mask_arguments(cfg: CfgNode) -> dict[str, Any]:
    """Arguments of ``Mask.draw`` but for batch and grid."""
    return {"kind": cfg.MASK.KIND, "ratio": cfg.MASK.RATIO}


def build_dataset(cfg: CfgNode) -> ClipDataset:
    """The training clips of a config.

    Raises:
        InputError: no list is given, it cannot be read, or sizes do not fit the patch.
    """
    if not cfg.DATA.TRAIN:
        raise InputError("DATA.TRAIN: give a list or a folder of videos, say DATA.TRAIN videos/")
    patch = (cfg.MODEL.PATCH[0], cfg.MODEL.PATCH[1], cfg.MODEL.PATCH[2])
    grid = grid_of((cfg.DATA.NUM_FRAMES, *cfg.DATA.SIZE), patch)
    Mask.draw(batch=1, grid=grid, **mask_arguments(cfg))  # what cannot be drawn is told now, not by a worker
    return ClipDataset(
        entries=read_list(cfg.DATA.TRAIN),
        num_frames=cfg.DATA.NUM_FRAMES,
        stride=cfg.DATA.STRIDE,
        size=cfg.DATA.SIZE,
        repeats=cfg.DATA.REPEATS,
        patch=patch,
        mask=mask_arguments(cfg),
        timesteps=cfg.DIFFUSION.TIMESTEPS,
        crop_scale=cfg.DATA.CROP_SCALE,
        flip=cfg.DATA.FLIP,
        seed=cfg.TRAIN.SEED,
        backend=cfg.DATA.BACKEND,
    )


def build_loader(cfg: CfgNode, rank: int = 0, world: int = 1, start: int = 0) -> DataLoader[TrainingClips]:
    """An endless loader of a config's training clips; ``start`` samples are done already."""
    return training_loader(build_dataset(cfg), cfg.TRAIN.BATCH_SIZE, cfg.DATA.WORKERS, rank, world, start)
