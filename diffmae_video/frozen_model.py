"""A saved model whose features are used as they are, with the config that says how to sample clips for it."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from diffmae_video.config import load_config, recipe_of
from diffmae_video.data import normalise
from diffmae_video.models import Backbone, Classifier, load_feature_model
from diffmae_video.models.weights.files import read_config
from diffmae_video.runtime.device import default_device

# A run's lists are those that it was trained on; which videos to look at is up to the caller.
NO_LISTS = ("DATA.TRAIN", "", "DATA.VAL", "", "DATA.ROOT", "")

# Weights state the first four of these; only a run states all.
CLIP_KEYS = ("DATA.NUM_FRAMES", "DATA.SIZE", "DATA.MEAN", "DATA.STD", "DATA.STRIDE", "DATA.FPS")


@dataclass(frozen=True)
class FrozenModel:
    """A model in evaluation mode, on the default device."""

    model: Backbone | Classifier  # a fine-tuned classifier, or the backbone of any other model
    cfg: CfgNode  # how clips are sampled, decoded and normalised

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def width(self) -> int:
        """D, the width of tokens and features."""
        return self.model.backbone().width

    @torch.no_grad()
    def tokens_and_features(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Patch tokens [B, N, D] and features [B, D], both float32 on the model's device.

        Features are the mean over the patch tokens, or of a classifier what its head sees.

        Args:
            clips: uint8 [B, T, H, W, 3].
        """
        clips = normalise(clips.to(self.device, non_blocking=True), self.cfg.DATA.MEAN, self.cfg.DATA.STD)
        tokens, features = self.model.tokens_and_features(clips)
        return tokens.float(), features.float()


def load_frozen(path: str | Path, options: Sequence[Any] = ()) -> FrozenModel:
    """Loads a model to take features from.

    If ``path`` is a run's folder or one of its checkpoints, the run's config.yaml says how clips are
    sampled. Otherwise the defaults do, with the model's own size, number of frames, mean and std.

    Args:
        path: what :func:`~diffmae_video.models.weights.load_backbone.load_backbone` takes.
        options: KEY, VALUE, ... that replace the config's. The encoder is fitted to a DATA.SIZE or
            DATA.NUM_FRAMES given here. MODEL.ENCODER.HEADS is for weights that do not state it,
            MODEL.IGPT.LAYER for iGPT.

    Raises:
        InputError: the checkpoint cannot be read, or an option is wrong.
    """
    model, cfg, _ = _load(Path(path), options)
    return FrozenModel(model.to(default_device()), cfg)


def clip_options(path: str | Path, options: Sequence[Any] = ()) -> dict[str, Any]:
    """The options about clips that a checkpoint states: size, number of frames, mean and std by key.

    A run's checkpoint states the stride and the frame rate too. Arguments and errors are those of
    :func:`load_frozen`.
    """
    with contextlib.redirect_stderr(io.StringIO()):  # what is skipped is said when the run loads the weights
        _, cfg, is_run = _load(Path(path), options)
    stated = clip_options_of(cfg)
    return stated if is_run else {key: stated[key] for key in CLIP_KEYS[:4]}


def clip_options_of(cfg: CfgNode) -> dict[str, Any]:
    """The options about clips of a run's config, by key."""
    return {key: cfg.DATA[key.removeprefix("DATA.")] for key in CLIP_KEYS}


def _load(path: Path, options: Sequence[Any]) -> tuple[Backbone | Classifier, CfgNode, bool]:
    """The model on the CPU, its config, and whether that is the config of a run."""
    folder = path.resolve() if path.is_dir() else path.resolve().parent
    about = read_config(folder)
    recipe = recipe_of(folder)
    is_run = "model" in about and recipe.is_file()
    cfg = load_config(recipe if is_run else None, [*NO_LISTS, *options])
    size, frames = (
        value if is_run or key in options[::2] else None
        for key, value in (("DATA.SIZE", cfg.DATA.SIZE), ("DATA.NUM_FRAMES", cfg.DATA.NUM_FRAMES))
    )
    model = load_feature_model(path, size, frames, cfg.MODEL.ENCODER.HEADS or None)
    if cfg.MODEL.IGPT.LAYER:
        model.backbone().set_feature_layer(cfg.MODEL.IGPT.LAYER)
    if not is_run:
        cfg = load_config(None, [*_own_options(model.backbone(), about), *options])
    return model, cfg, is_run


def _own_options(backbone: Backbone, about: dict[str, Any]) -> list[Any]:
    """What a model and its config.json, ours or timm's with ``pretrained_cfg``, say about its clips."""
    frames, *size = (n * side for n, side in zip(backbone.grid, backbone.patch, strict=True))
    options = ["DATA.NUM_FRAMES", frames, "DATA.SIZE", size]
    about = about.get("pretrained_cfg", about)
    for name in ("mean", "std"):
        if name in about:
            options += [f"DATA.{name.upper()}", about[name]]
    return options
