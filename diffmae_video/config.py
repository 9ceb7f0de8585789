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
    cfg.MODEL.OBJECTIVE = "diffmae"  # diffmae, mae or ddpm; of pictures also adm or igpt
    cfg.MODEL.PREDICTION = "x0"  # of diffmae, ddpm and adm: x0 or eps
    cfg.MODEL.NORM_TARGET = False  # targets normalised per patch; such a model cannot render
    cfg.MODEL.PATCH = [
        2,
        16,
        16,
    ]  # frames, pixels, pixels; of adm and igpt: of the masks for inpainting alone
    cfg.MODEL.ENCODER = CfgNode()  # of all but adm; igpt reads SIZE, WIDTH, DEPTH and HEADS
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

    cfg.MODEL.ADM = CfgNode()  # of adm, in place of ENCODER and DECODER
    cfg.MODEL.ADM.WIDTH = 256  # channels of the first level
    cfg.MODEL.ADM.MULTIPLIERS = "1,1,2,2,4,4"  # of WIDTH, one for each level; a level halves the picture
    cfg.MODEL.ADM.RESNETS = 2  # on each level of the way down
    cfg.MODEL.ADM.ATTENTION = "32,16,8"  # the heights of levels with attention, pixels
    cfg.MODEL.ADM.DROPOUT = 0.0  # in the resnets
    cfg.MODEL.IGPT = CfgNode()  # of igpt
    cfg.MODEL.IGPT.COLOURS = 512  # clusters of the training pictures' pixels
    cfg.MODEL.IGPT.LAYER = 0  # whose features are taken, from 1; 0: the middle one; tools/probe.py chooses

    cfg.MASK = CfgNode()
    cfg.MASK.KIND = "random"
    cfg.MASK.RATIO = 0.9  # share of patches that are masked

    cfg.DIFFUSION = CfgNode()
    cfg.DIFFUSION.SCHEDULE = "linear"  # linear or cosine
    cfg.DIFFUSION.RHO = 0.8  # exponent on beta; below 1 means more noise
    cfg.DIFFUSION.TIMESTEPS = 1000

    cfg.DATA = CfgNode()
    cfg.DATA.TRAIN = ""  # a list or a folder of videos; of images too, where NUM_FRAMES is 1
    cfg.DATA.VAL = ""
    cfg.DATA.ROOT = ""  # where a list's relative paths start; empty: the list's own folder
    cfg.DATA.NUM_FRAMES = 16
    cfg.DATA.STRIDE = 4  # frames from one of the clip to the next
    cfg.DATA.FPS = 0.0  # the rate that STRIDE counts in, frames per second; 0: the video's own frames
    cfg.DATA.SIZE = [224, 224]  # height, width in pixels; one number means a square
    cfg.DATA.REPEATS = 1  # clips from each video that is opened
    cfg.DATA.CROP_SCALE = [0.5, 1.0]  # the random crop's share of the frame
    cfg.DATA.FLIP = True  # mirror half of the clips
    cfg.DATA.CROP_ON_DEVICE = False  # crop, resize and mirror on the training device, not in the workers
    cfg.DATA.MEAN = [0.485, 0.456, 0.406]  # of the normalisation, on pixels in [0, 1]
    cfg.DATA.STD = [0.229, 0.224, 0.225]
    cfg.DATA.BACKEND = "pyav"  # pyav (the fastest of them as measured), decord or torchcodec
    cfg.DATA.SHORT_SIDE = 0  # pixels: larger frames are made smaller as they are decoded; 0: not
    cfg.DATA.WORKERS = 4  # reading processes per training process
    cfg.DATA.TIMEOUT = 60.0  # seconds for opening a video, and for reading it, before it counts as bad
    cfg.DATA.MAX_BAD_SHARE = 0.5  # of the reads; where more of them fail a run stops

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
    cfg.TRAIN.EMA = 0.0  # decay of a moving average of the weights, say 0.9999; 0: none
    cfg.TRAIN.ACTIVATION_CHECKPOINTING = False  # computes blocks again in backward: less memory, more time
    cfg.TRAIN.COMPILE = False  # torch.compile
    cfg.TRAIN.SEED = 0
    cfg.TRAIN.LOG_EVERY = 10  # steps between writes to metrics.jsonl
    cfg.TRAIN.MAX_BAD_STEPS = 10  # in a row whose loss or gradient is not finite; then the run ends
    cfg.TRAIN.PATIENCE = 10.0  # minutes that a process waits for another one; then the run ends

    cfg.CHECKPOINT = CfgNode()
    cfg.CHECKPOINT.EVERY_STEPS = 1000  # optimizer steps; 0: not by steps
    cfg.CHECKPOINT.EVERY_MINUTES = 30.0  # 0: not by time
    cfg.CHECKPOINT.KEEP = 3  # the newest ones, and the best one

    cfg.VALIDATION = CfgNode()  # in mid-run, on DATA.VAL
    cfg.VALIDATION.EVERY_STEPS = 2000  # optimizer steps from one to the next; 0: never
    cfg.VALIDATION.CLIPS = 256  # at most; all processes together keep them in memory
    cfg.VALIDATION.PICTURES = 4  # of them, inpainted

    cfg.FINETUNE = CfgNode()  # of tools/finetune.py
    cfg.FINETUNE.INIT = ""  # what load_encoder takes; empty: from scratch, with MODEL.PATCH and MODEL.ENCODER
    cfg.FINETUNE.POOL = "mean"  # mean (with a norm of its own) or token
    cfg.FINETUNE.DROPOUT = 0.0  # before the head
    cfg.FINETUNE.DROP_PATH = 0.1  # rate of stochastic depth of the last block; it rises from 0
    cfg.FINETUNE.LAYER_DECAY = 0.75  # a layer's learning rate as a share of that of the next; 1: all the same
    cfg.FINETUNE.FREEZE = -1  # the embedding and so many blocks are not trained; -1: all is trained
    cfg.FINETUNE.RAND_AUGMENT = [0, 9]  # operations, magnitude of 30; 0 operations: none
    cfg.FINETUNE.ERASE = 0.0  # probability of erasing a rectangle
    cfg.FINETUNE.MIXUP = 0.8  # alpha; 0: none
    cfg.FINETUNE.CUTMIX = 1.0  # alpha; 0: none
    cfg.FINETUNE.SMOOTHING = 0.1  # of the labels
    cfg.FINETUNE.CLASS_WEIGHTS = ""  # balanced, or a YAML file of class: weight; empty: all 1
    cfg.FINETUNE.HOLD_OUT = 0.0  # share of each class that is for validation, where DATA.VAL is empty
    cfg.FINETUNE.GENERATIVE = 0.0  # of igpt: weight of its own loss beside that of the classes; iGPT: 1
    cfg.FINETUNE.MULTI_LABEL = False  # labels are "running;jumping", each class a yes or no of its own

    cfg.EVALUATION = CfgNode()  # of tools/evaluate.py, on DATA.VAL; a run validates on one view
    cfg.EVALUATION.VIEWS = [1, 1]  # clips over time, crops along the longer side
    cfg.EVALUATION.BATCH_SIZE = 16  # clips per forward
    cfg.EVALUATION.POLICY = "fail"  # of a video that cannot be read: fail, wrong (counted so) or skip

    cfg.COMPARE = CfgNode()  # of tools/compare.py; recipes are in the folder that has the config's name
    cfg.COMPARE.SYSTEMS = "mae,igpt,adm,ddpm,diffmae"  # recipes that pre-train
    cfg.COMPARE.BUDGET = 1e14  # of each system's pre-training
    cfg.COMPARE.UNIT = "flops"  # of the budget: flops, seconds or pictures (clips)
    cfg.COMPARE.SEEDS = 3
    cfg.COMPARE.CURVES = True  # after each quarter of pre-training too, with seed 0: half of the work

    cfg.DEEPSPEED = CfgNode()
    cfg.DEEPSPEED.ZERO_STAGE = 0  # 0 to 3: what is split over the processes
    cfg.DEEPSPEED.CONFIG = ""  # a JSON file of DeepSpeed's further options, see configs/deepspeed
    return cfg


def load_config(path: str | Path | None, overrides: Sequence[Any] = ()) -> CfgNode:
    """The defaults, changed by a recipe (none with None) and then by ``[KEY, VALUE, KEY, VALUE, ...]``.

    Raises:
        InputError: no such file, broken YAML, an unknown key (with the nearest known one), a value
            of the wrong type, or a key without a value.
    """
    cfg = default_config()
    recipe = {} if path is None else _read_recipe(Path(path))
    for key, value in _flatten(recipe):
        _set(cfg, key, value, str(path))
    if len(overrides) % 2:
        raise InputError(f"options come in pairs KEY VALUE; {overrides[-1]!r} has no partner")
    for key, value in zip(overrides[::2], overrides[1::2], strict=True):
        _set(cfg, str(key), value, "command line")
    _check_ranges(cfg)
    cfg.freeze()
    return cfg


def _read_recipe(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: no such config file")
    try:
        # fvcore cannot read a file that holds nothing, and all defaults are a config
        is_empty = yaml.safe_load(path.read_text(encoding="utf-8")) is None
        loaded = {} if is_empty else CfgNode.load_yaml_with_base(str(path))
    except (yaml.YAMLError, TypeError, AttributeError, AssertionError, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a YAML config ({' '.join(str(error).split())})") from error
    if not isinstance(loaded, dict):
        raise InputError(f"{path}: not a YAML config: expected sections, got {type(loaded).__name__}")
    return loaded


def recipe_of(folder: str | Path) -> Path:
    """Where the config.yaml of a run is, by the run's folder or that of one of its checkpoints."""
    folder = Path(folder).resolve()
    return (folder.parent.parent if folder.parent.name == "checkpoints" else folder) / "config.yaml"


AT_LEAST_1 = (
    *("MODEL.PATCH", "MODEL.DECODER.WIDTH", "MODEL.DECODER.DEPTH", "DIFFUSION.TIMESTEPS"),
    *("MODEL.ADM.WIDTH", "MODEL.ADM.RESNETS", "MODEL.IGPT.COLOURS"),
    *("DATA.NUM_FRAMES", "DATA.STRIDE", "DATA.SIZE", "DATA.REPEATS"),
    *("TRAIN.BATCH_SIZE", "TRAIN.ACCUMULATION", "TRAIN.LOG_EVERY", "TRAIN.MAX_BAD_STEPS"),
    *("VALIDATION.CLIPS", "CHECKPOINT.KEEP", "EVALUATION.VIEWS", "EVALUATION.BATCH_SIZE"),
    "COMPARE.SEEDS",
)
AT_LEAST_0 = (
    *("MODEL.ENCODER.WIDTH", "MODEL.ENCODER.DEPTH", "MODEL.ENCODER.HEADS", "MODEL.DECODER.HEADS"),
    *("MODEL.IGPT.LAYER", "DATA.WORKERS", "DATA.FPS", "DATA.SHORT_SIDE"),
    *("TRAIN.EPOCHS", "TRAIN.MAX_STEPS", "TRAIN.WARMUP_EPOCHS", "TRAIN.WARMUP_STEPS"),
    *("TRAIN.BASE_LR", "TRAIN.WEIGHT_DECAY", "TRAIN.CLIP_GRAD", "TRAIN.SEED"),
    *("TRAIN.PATIENCE", "CHECKPOINT.EVERY_STEPS", "CHECKPOINT.EVERY_MINUTES"),
    *("VALIDATION.EVERY_STEPS", "VALIDATION.PICTURES"),
    *("FINETUNE.MIXUP", "FINETUNE.CUTMIX", "FINETUNE.RAND_AUGMENT", "FINETUNE.GENERATIVE"),
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
    if cfg.DATA.TIMEOUT <= 0:
        raise InputError(f"DATA.TIMEOUT: must be above 0 seconds, got {cfg.DATA.TIMEOUT}")
    if not 0 <= cfg.DATA.MAX_BAD_SHARE <= 1:
        raise InputError(f"DATA.MAX_BAD_SHARE: a share from 0 to 1, got {cfg.DATA.MAX_BAD_SHARE}")
    if not 0 <= cfg.TRAIN.EMA < 1:
        raise InputError(f"TRAIN.EMA: a decay, 0 <= EMA < 1, got {cfg.TRAIN.EMA}")
    for key in ("DROPOUT", "DROP_PATH", "ERASE", "SMOOTHING", "HOLD_OUT"):
        if not 0 <= cfg.FINETUNE[key] < 1:
            raise InputError(f"FINETUNE.{key}: 0 or more and below 1, got {cfg.FINETUNE[key]}")
    if not 0 <= cfg.MODEL.ADM.DROPOUT < 1:
        raise InputError(f"MODEL.ADM.DROPOUT: 0 or more and below 1, got {cfg.MODEL.ADM.DROPOUT}")
    if not 0 < cfg.FINETUNE.LAYER_DECAY <= 1:
        raise InputError(f"FINETUNE.LAYER_DECAY: above 0 and at most 1, got {cfg.FINETUNE.LAYER_DECAY}")
    if cfg.FINETUNE.RAND_AUGMENT[1] > 30:
        raise InputError(
            f"FINETUNE.RAND_AUGMENT: a magnitude of at most 30, got {cfg.FINETUNE.RAND_AUGMENT[1]}"
        )
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
        is_bare_list = isinstance(default, list) and "," in value and "[" not in value  # 5,3
        value = yaml.safe_load(f"[{value}]" if is_bare_list else value)
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
