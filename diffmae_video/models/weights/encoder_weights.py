"""Reads an encoder's weights from a checkpoint, strictly.

Every key is read, or belongs to a decoder, a head or another module beside the encoder and is skipped, or
is an error.
"""

import logging
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from diffmae_video.errors import InputError
from diffmae_video.models.weights.files import Checkpoint, first_of
from diffmae_video.models.weights.layouts import (
    DIFFMAE,
    EVALUATED,
    HF_VIDEOMAE,
    LAYOUTS,
    MAE,
    OTHER_MODULES,
    SOURCES,
    Layout,
)

logger = logging.getLogger(__name__)

# Names that an encoder's own weights may have outside its blocks.
STEM = re.compile(r"cls_token|pos_embed\w*|positions\.\w+|norm\.(weight|bias)")


class EncoderWeights(NamedTuple):
    """An encoder's weights under our names, in the shapes of the file."""

    source: str  # the first of SOURCES that the keys fit
    tensors: dict[str, Tensor]  # float32; those of a block are blocks.i.…
    # depth, width, mlp_width: of the transformer
    depth: int
    width: int
    mlp_width: int
    skipped: Counter[str]  # the modules beside the encoder, with their numbers of tensors


class Keys:
    """A file's keys, as seen from the encoder in it.

    Attributes:
        layout: the encoder's.
        prefix: what precedes the encoder's own keys.
        foreign: the leading part of it that the encoder's project does not write.
    """

    def __init__(self, weights: dict[str, Tensor], layout: Layout, prefix: str) -> None:
        self.weights, self.layout, self.prefix = weights, layout, prefix
        self.foreign = layout.foreign(prefix)
        self.blocks = f"{prefix}{layout.blocks}."

    def within(self, key: str) -> list[str]:
        """A key without the prefixes, from the model's and from the encoder's point of view."""
        return [key.removeprefix(prefix) for prefix in (self.foreign, self.prefix) if key.startswith(prefix)]

    def is_skipped(self, key: str) -> bool:
        """Whether a key that was not read belongs to a module beside the encoder."""
        if not key.startswith(self.foreign) and not self.is_detached(key):
            return True
        return any(OTHER_MODULES.match(name) for name in (key, *self.within(key)))

    def is_detached(self, key: str) -> bool:
        """Whether a key may be the encoder's although it stands in a module around it."""
        parts = self.foreign.split(".")
        around = (".".join((*parts[:i], "")) for i in range(len(parts) - 1))
        return any(key.startswith(prefix) and STEM.fullmatch(key.removeprefix(prefix)) for prefix in around)

    def has_pooled_norm(self) -> bool:
        """Whether a classifier's norm follows the mean over tokens, in place of the encoder's own."""
        return any(name.startswith("fc_norm.") for key in self.weights for name in self.within(key))

    def block_names(self) -> set[str]:
        """The names of all weights in the blocks, without ``blocks.i.``."""
        keys = (key.removeprefix(self.blocks) for key in self.weights if key.startswith(self.blocks))
        return {key.partition(".")[2] for key in keys}

    def depth(self) -> int:
        """The number of blocks, by the highest one."""
        numbers = (
            re.match(r"\d+", key.removeprefix(self.blocks))
            for key in self.weights
            if key.startswith(self.blocks)
        )
        return 1 + max((int(number[0]) for number in numbers if number), default=0)


def read_encoder_weights(
    checkpoint: Checkpoint, source: str = "auto", final_norm: bool | None = None
) -> EncoderWeights:
    """Takes an encoder's weights out of a checkpoint. One log line names the prefix that was removed, if any.

    Args:
        source: one of SOURCES, or ``auto`` to go by the keys.
        final_norm: whether a norm of tokens must be there; None goes by the source and the keys.

    Raises:
        InputError: the source is unknown or does not fit the keys; there are several encoders; keys are
            missing or unknown, or shapes do not fit.
    """
    path, weights = checkpoint.path, checkpoint.weights
    source = source.replace("-", "_")
    if source not in ("auto", *SOURCES):
        raise InputError(f"unknown source {source!r}; choose one of auto, {', '.join(SOURCES)}")
    keys = _find_encoder(path, weights)
    fitting = _sources(keys)
    if source == "auto":
        source = fitting[0]
    elif source not in fitting:
        raise InputError(f"{path}: its keys are those of {' or '.join(fitting)} and not of {source}")
    if removed := checkpoint.prefix + keys.foreign:
        logger.warning("%s: removed the prefix %r of its keys", path, removed)
    keys = Keys(weights, LAYOUTS[source], keys.prefix)
    names, missing = _match(keys, source, final_norm)
    read = set(names.values())
    unread = [key for key in weights if key not in read]
    skipped = {key for key in unread if keys.is_skipped(key)}
    problems = [f"missing {key}" for key in missing]
    problems += [f"unknown {key}" for key in unread if key not in skipped]
    if problems:
        raise InputError(f"{path}: not the weights of a plain {source} encoder: {_joined(problems)}")
    tensors = {ours: weights[key].float() for ours, key in names.items()}
    width, mlp_width = _check_shapes(path, tensors, names, (2,) if source == "diffmae" else (4, 5))
    modules = Counter(key.removeprefix(keys.foreign).split(".")[0] for key in unread)
    return EncoderWeights(source, tensors, keys.depth(), width, mlp_width, modules)


def _find_encoder(path: Path, weights: dict[str, Tensor]) -> Keys:
    """The one encoder in a file, by its patch embedding.

    Raises:
        InputError: there is none, or there are several.
    """
    for layout in (DIFFMAE, HF_VIDEOMAE, MAE):
        prefixes = layout.find(weights)
        if len(prefixes) > 1:
            evaluated = [prefix for prefix in prefixes if prefix.split(".")[0] in EVALUATED]
            if len(evaluated) != 1:
                names = first_of([repr(prefix) for prefix in prefixes])
                raise InputError(f"{path}: holds several encoders, with the prefixes {names}; save one alone")
            prefixes = evaluated
        if prefixes:
            return Keys(weights, layout, prefixes[0])
    raise InputError(
        f"{path}: not the weights of {', '.join(SOURCES)}: missing patch_embed.proj.weight (mae, mae_st, "
        "videomae, timm), embeddings.patch_embeddings.projection.weight (hf_videomae) or "
        f"patch_embed.weight (diffmae); its keys are {first_of(list(weights))}"
    )


def _sources(keys: Keys) -> tuple[str, ...]:
    """The sources that a file may be from, the most likely first."""
    if keys.layout is DIFFMAE:
        return ("diffmae",)
    if keys.layout is HF_VIDEOMAE:
        return ("hf_videomae",)
    has_positions = any(key.startswith(f"{keys.prefix}pos_embed") for key in keys.weights)
    has_separate_q = "attn.q.weight" in keys.block_names()
    kernel = keys.weights.get(f"{keys.prefix}patch_embed.proj.weight")
    if kernel is None:  # an error follows, because the weight is missing
        others = ("mae", "mae_st", "timm")
        return (*others, "videomae") if has_positions else ("videomae", *others)
    if kernel.ndim == 4:
        return ("mae", "timm")
    # Of those with 3-D patches only VideoMAE stores no positions and has one matrix for q, k and v.
    return ("mae_st",) if has_positions or has_separate_q else ("videomae",)


def _match(keys: Keys, source: str, final_norm: bool | None) -> tuple[dict[str, str], list[str]]:
    """Our names -> the file's, and the file's keys that are missing."""
    layout, weights = keys.layout, keys.weights
    names: dict[str, str] = {}
    missing: list[str] = []

    def look_up(ours: list[str], at: list[str], alternatives: tuple[str, ...], required: bool) -> None:
        """Finds a weight in all places under the same one of its names; if not required, in all or none."""
        counts = Counter(name for name in alternatives for place in at if place + name in weights)
        if counts or required:
            name = counts.most_common(1)[0][0] if counts else alternatives[0]
            names.update(
                (o, place + name) for o, place in zip(ours, at, strict=True) if place + name in weights
            )
            missing.extend(place + name for place in at if place + name not in weights)

    for name, required in _stem_names(keys, source, final_norm).items():
        look_up([name], [keys.prefix], layout.stem[name], required)
    numbers = range(keys.depth())
    for name, required in _block_names(layout, keys.block_names()).items():
        ours = [f"blocks.{i}.{name}" for i in numbers]
        look_up(ours, [f"{keys.blocks}{i}." for i in numbers], layout.block[name], required)
    return names, missing


def _stem_names(keys: Keys, source: str, final_norm: bool | None) -> dict[str, bool]:
    """The weights to read outside the blocks -> whether each is required, given what the file has."""
    stem = keys.layout.stem
    present = {ours for ours, (name,) in stem.items() if keys.prefix + name in keys.weights}
    names = {"patch.weight": True, "patch.bias": True}
    separable = {"positions.spatial", "positions.temporal"}
    if keys.layout is MAE:
        names["cls_token"] = False
        if present & separable:
            names |= dict.fromkeys(sorted(separable), True)
            if present & {"cls_token", "positions.class"}:
                names |= {"cls_token": True, "positions.class": True}
        else:
            names["positions.joint"] = True
    elif keys.layout is DIFFMAE:  # fixed positions are not stored, and images have no temporal ones
        names |= {"cls_token": False, "positions.temporal": False}
        names |= {"positions.spatial": True} if present & separable else {"positions.joint": False}
    required = source != "hf_videomae" if final_norm is None else final_norm
    required = required and not keys.has_pooled_norm()
    required = required or bool(present & {"norm.weight", "norm.bias"})
    return names | {"norm.weight": required, "norm.bias": required}


def _block_names(layout: Layout, in_file: set[str]) -> dict[str, bool]:
    """The weights to read in each block -> whether each is required, given the names in the file's blocks."""

    def is_present(ours: str) -> bool:
        return any(name in in_file for name in layout.block.get(ours, ()))

    names = dict.fromkeys(layout.block, True)
    names |= {name: False for name in ("ls1.gamma", "ls2.gamma") if name in layout.block}
    has_biases = is_present("attn.q.bias") or is_present("attn.v.bias")
    names |= {"attn.q.bias": has_biases, "attn.k.bias": False, "attn.v.bias": has_biases}
    if "attn.qkv.weight" not in layout.block:
        return names
    unused = [f"attn.{name}.weight" for name in "qkv"]
    if is_present("attn.q.weight"):  # a matrix each, in place of one for all three
        unused = ["attn.qkv.weight", "attn.qkv.bias"]
    elif is_present("attn.qkv.bias"):
        unused += [f"attn.{name}.bias" for name in "qkv"]
    names |= {"attn.qkv.bias": False} if "attn.qkv.bias" in layout.block else {}
    return {name: required for name, required in names.items() if name not in unused}


def _check_shapes(
    path: Path, tensors: dict[str, Tensor], names: dict[str, str], kernel_ndims: tuple[int, ...]
) -> tuple[int, int]:
    """The width and the MLPs' width, once all shapes agree with them."""
    kernel = tensors["patch.weight"]
    if not kernel.numel():
        raise InputError(
            f"{path}: {names['patch.weight']} is empty, as in checkpoints of DeepSpeed's ZeRO stage 3; "
            "gather the weights into one file with its zero_to_fp32.py"
        )
    if kernel.ndim not in kernel_ndims or (kernel.ndim > 2 and kernel.shape[1] != 3):
        raise InputError(
            f"{path}: {names['patch.weight']} is {list(kernel.shape)}; patches must have 3 channels"
        )
    d, h = kernel.shape[0], tensors["blocks.0.mlp.fc1.weight"].shape[0]
    norms = [f"{norm}.{part}" for norm in ("norm", "norm1", "norm2") for part in ("weight", "bias")]
    expected: dict[str, tuple[int, ...]] = {
        **dict.fromkeys(("patch.bias", *norms, "ls1.gamma", "ls2.gamma", "mlp.fc2.bias"), (d,)),
        **{f"attn.{name}.weight": (d, d) for name in ("q", "k", "v", "proj")},
        **{f"attn.{name}.bias": (d,) for name in ("q", "k", "v", "proj")},
        "attn.qkv.weight": (3 * d, d),
        "attn.qkv.bias": (3 * d,),
        "mlp.fc1.weight": (h, d),
        "mlp.fc1.bias": (h,),
        "mlp.fc2.weight": (d, h),
        "cls_token": (1, 1, d),
        "positions.class": (1, 1, d),
    }
    tables = ("positions.joint", "positions.spatial", "positions.temporal")
    problems = []
    for ours, tensor in tensors.items():
        shape, name = tuple(tensor.shape), re.sub(r"^blocks\.\d+\.", "", ours)
        if name in expected and shape != expected[name]:
            problems.append(f"{names[ours]} is {list(shape)} and not {list(expected[name])}")
        elif name in tables and (
            shape[-1:] != (d,) or 0 in shape or shape[:-2] not in ((), (1,)) or len(shape) < 2
        ):
            problems.append(f"{names[ours]} is {list(shape)} and not [tokens, {d}]")
    if problems:
        raise InputError(f"{path}: shapes do not fit together: {_joined(problems)}")
    return d, h


def _joined(problems: list[str], most: int = 12) -> str:
    more = f"; and {len(problems) - most} more" if len(problems) > most else ""
    return "; ".join(problems[:most]) + more
