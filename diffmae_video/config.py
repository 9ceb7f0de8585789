"""Every option once: its default, its meaning, its unit.

A recipe is a YAML file that names what differs; ``_BASE_`` in it names a file to start from.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from fvcore.common.config import CfgNode

from diffmae_video.errors import InputError


def default_config() -> CfgNode:
    """The tree of all options with their defaults."""
    cfg = CfgNode()

    cfg.MODEL = CfgNode()
    cfg.MODEL.OBJECTIVE = "diffmae"  # diffmae or mae
    cfg.MODEL.PREDICTION = "x0"  # of diffmae: x0 or eps
    cfg.MODEL.NORM_TARGET = False  # targets normalised per patch; such a model cannot render
    cfg.MODEL.PATCH = [2, 16, 16]  # frames, pixels, pixels
    cfg.MODEL.ENCODER = CfgNode()
    cfg.MODEL.ENCODER.SIZE = "B"  # S, B, L or H
    cfg.MODEL.ENCODER.WIDTH = 0  # 0: that of SIZE; so for the next two
    cfg.MODEL.ENCODER.DEPTH = 0
    cfg.MODEL.ENCODER.HEADS = 0
    cfg.MODEL.ENCODER.CLASS_TOKEN = False
    cfg.MODEL.ENCODER.POSITIONS = "sincos"  # sincos, sharp, learned, joint or sinusoid (VideoMAE's)
    cfg.MODEL.DECODER = CfgNode()
    cfg.MODEL.DECODER.KIND = "cross_self"  # of diffmae: joint, cross_self or cross
    cfg.MODEL.DECODER.WIDTH = 512
    cfg.MODEL.DECODER.DEPTH = 8
    cfg.MODEL.DECODER.HEADS = 0  # 0: heads 64 wide
    cfg.MODEL.DECODER.POSITIONS = "sincos"  # sincos or sharp
    cfg.MODEL.DECODER.FRACTION = 1.0  # share of masked patches that cross decodes in training

    cfg.MASK = CfgNode()
    cfg.MASK.KIND = "random"
    cfg.MASK.RATIO = 0.9  # share of patches that are masked

    cfg.DIFFUSION = CfgNode()
    cfg.DIFFUSION.SCHEDULE = "linear"  # linear or cosine
    cfg.DIFFUSION.RHO = 0.8  # exponent on beta; below 1 means more noise
    cfg.DIFFUSION.TIMESTEPS = 1000

    cfg.DATA = CfgNode()
    cfg.DATA.TRAIN = ""  # a list or a folder of videos
    cfg.DATA.VAL = ""
    cfg.DATA.NUM_FRAMES = 16
    cfg.DATA.STRIDE = 4  # frames from one of the clip to the next
    cfg.DATA.SIZE = [224, 224]  # height, width in pixels; one number means a square
    cfg.DATA.REPEATS = 1  # clips from each video that is opened
    cfg.DATA.CROP_SCALE = [0.5, 1.0]  # the random crop's share of the frame
    cfg.DATA.FLIP = True  # mirror half of the clips
    cfg.DATA.MEAN = [0.485, 0.456, 0.406]  # of the normalisation, on pixels in [0, 1]
    cfg.DATA.STD = [0.229, 0.224, 0.225]
    cfg.DATA.BACKEND = "decord"  # decord or pyav
    cfg.DATA.WORKERS = 4  # reading processes per training process

    cfg.TRAIN = CfgNode()
    cfg.TRAIN.EPOCHS = 800  # passes over the list of videos
    cfg.TRAIN.MAX_STEPS = 0  # optimizer steps in place of EPOCHS; 0: by EPOCHS
    cfg.TRAIN.BATCH_SIZE = 8  # videos per process and forward
    cfg.TRAIN.ACCUMULATION = 1  # forwards per optimizer step
    cfg.TRAIN.PRECISION = "auto"  # fp32, bf16, fp16; auto: bf16 where the device has it, else fp32
    cfg.TRAIN.BASE_LR = 1.5e-4  # per 256 of the effective batch
    cfg.TRAIN.COUNT_REPEATS = False  # whether DATA.REPEATS counts in that batch
    cfg.TRAIN.WARMUP_EPOCHS = 40.0  # of linear warm-up
    cfg.TRAIN.WARMUP_STEPS = 0  # in place of WARMUP_EPOCHS; 0: by that
    cfg.TRAIN.WEIGHT_DECAY = 0.05  # not on biases, norms, positions and tokens
    cfg.TRAIN.BETAS = [0.9, 0.95]  # AdamW's
    cfg.TRAIN.CLIP_GRAD = 0.0  # largest norm of the gradient; 0: no clipping
    cfg.TRAIN.SEED = 0
    cfg.TRAIN.LOG_EVERY = 10  # steps between writes to metrics.jsonl

    cfg.DEEPSPEED = CfgNode()
    cfg.DEEPSPEED.ZERO_STAGE = 0  # 0 to 3: what is split over the processes
    return cfg


def load_config(path: str | Path, overrides: Sequence[Any] = ()) -> CfgNode:
    """The defaults, changed by a recipe and then by ``[KEY, VALUE, KEY, VALUE, ...]``.

    Raises:
        InputError: no such file, broken YAML, an unknown key (with the nearest known one), a value
            of the wrong type, or a key without a value.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such config file")
    cfg = default_config()
    try:
        # fvcore cannot read a file that holds nothing, and all defaults are a config
        is_empty = yaml.safe_load(path.read_text(encoding="utf-8")) is None
        loaded = {} if is_empty else CfgNode.load_yaml_with_base(str(path))
    except (yaml.YAMLError, TypeError, AttributeError, AssertionError, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a YAML config ({' '.join(str(error).split())})") from error
    if not isinstance(loaded, dict):
        raise InputError(f"{path}: not a YAML config: expected sections, got {type(loaded).__name__}")
    for key, value in _flatten(loaded):
        _set(cfg, key, value, str(path))
    if len(overrides) % 2:
        raise InputError(f"options come in pairs KEY VALUE; {overrides[-1]!r} has no partner")
    for key, value in zip(overrides[::2], overrides[1::2], strict=True):
        _set(cfg, str(key), value, "command line")
    _check_ranges(cfg)
    cfg.freeze()
    return cfg


AT_LEAST_1 = (
    *("MODEL.PATCH", "MODEL.DECODER.WIDTH", "MODEL.DECODER.DEPTH", "DIFFUSION.TIMESTEPS"),
    *("DATA.NUM_FRAMES", "DATA.STRIDE", "DATA.SIZE", "DATA.REPEATS"),
    *("TRAIN.BATCH_SIZE", "TRAIN.ACCUMULATION", "TRAIN.LOG_EVERY"),
)
AT_LEAST_0 = (
    *("MODEL.ENCODER.WIDTH", "MODEL.ENCODER.DEPTH", "MODEL.ENCODER.HEADS", "MODEL.DECODER.HEADS"),
    *("DATA.WORKERS", "TRAIN.EPOCHS", "TRAIN.MAX_STEPS", "TRAIN.WARMUP_EPOCHS", "TRAIN.WARMUP_STEPS"),
    *("TRAIN.BASE_LR", "TRAIN.WEIGHT_DECAY", "TRAIN.CLIP_GRAD", "TRAIN.SEED"),
)


def _check_ranges(cfg: CfgNode) -> None:
    """Refuses numbers that would end a run later, or make it meaningless in silence."""
    for key, value in _flatten(cfg):
        values = value if isinstance(value, list) else [value]
        if key in AT_LEAST_1 and min(values) < 1:
            raise InputError(f"{key}: must be 1 or more, got {value}")
        if key in AT_LEAST_0 and min(values) < 0:
            raise InputError(f"{key}: must be 0 or more, got {value}")
    if min(cfg.DATA.STD) <= 0:
        raise InputError(f"DATA.STD: must be above 0, got {cfg.DATA.STD}")
    low, high = cfg.DATA.CROP_SCALE
    if not 0 < low <= high <= 1:
        raise InputError(f"DATA.CROP_SCALE: shares of the frame, 0 < low <= high <= 1, got {[low, high]}")


def _flatten(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _set(cfg: CfgNode, key: str, value: Any, source: str) -> None:
    node, names = cfg, key.split(".")
    for name in names[:-1]:
        node = node.get(name) if isinstance(node, CfgNode) else None
    if not isinstance(node, CfgNode) or names[-1] not in node or isinstance(node[names[-1]], CfgNode):
        known = [k for k, _ in _flatten(default_config())]
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(cfg)}"
        raise InputError(f"{source}: unknown config key {key}{hint}")
    try:
        node[names[-1]] = _coerce(value, node[names[-1]])
    except (ValueError, TypeError, OverflowError, yaml.YAMLError) as error:
        kind = type(node[names[-1]]).__name__
        raise InputError(f"{source}: {key} takes a value of type {kind}, got {value!r}") from error


def _coerce(value: Any, default: Any) -> Any:
    """A value from YAML or the command line in the default's type: 1 is a float, 1e3 an int."""
    if isinstance(default, str):
        return "" if value is None else str(value)
    if isinstance(value, str):
        value = yaml.safe_load(value)
    if isinstance(default, list):
        items = list(value) if isinstance(value, (list, tuple)) else [value] * len(default)
        if len(items) != len(default):
            raise ValueError(f"takes {len(default)} values")
        return [_coerce(item, entry) for item, entry in zip(items, default, strict=True)]
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError("takes true or false")
        return value
    if isinstance(value, bool) or value is None:
        raise ValueError("takes a number")
    if not math.isfinite(float(value)):
        raise ValueError("takes a finite number")
    if isinstance(default, float):
        return float(value)
    if float(value) != int(float(value)):
        raise ValueError("takes a whole number")
    return int(float(value))
