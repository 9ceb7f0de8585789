"""How other projects name an encoder's weights, and the strict reading of their files.

A layout says where each weight stands in a file. Our own names for them, on the left of the tables
below, are timm's where timm has one. Everything in a file is either read, or known to belong to a
decoder or head, or an error.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from diffmae_video.errors import InputError
from diffmae_video.models.weights.files import Checkpoint

SOURCES = ("mae", "mae_st", "videomae", "hf_videomae", "timm", "diffmae")

# What stands beside an encoder: decoders (MAE, VideoMAE, SlowFast's pred_head), norm and head of a
# classifier (fc_norm comes after the mean over tokens, so it is no norm of tokens).
NO_ENCODER = re.compile(
    r"decoder|encoder_to_decoder\.|mask_token$|pred_head\.|fc_norm\.|head\.|classifier\.|attn_pool\."
)


def _linear(ours: str, *theirs: str) -> dict[str, tuple[str, ...]]:
    """The weight and bias of a module; several names are alternatives."""
    return {f"{ours}.{part}": tuple(f"{name}.{part}" for name in theirs) for part in ("weight", "bias")}


@dataclass(frozen=True)
class Layout:
    """Where the weights stand in a file: our name -> the file's, of which one is there.

    Attributes:
        prefixes: what may stand before all the encoder's keys.
        blocks: what stands before a block's number.
        stem: outside of the blocks; ``patch`` is what the layout is recognised by.
        block: in a block, without ``blocks.i.``.
    """

    prefixes: tuple[str, ...]
    blocks: str
    stem: dict[str, tuple[str, ...]]
    block: dict[str, tuple[str, ...]]

    def prefix(self, weights: dict[str, Tensor]) -> str | None:
        """The prefix in a file; None if the file is not of this layout."""
        patch = (*self.stem["patch.weight"], *self.stem["patch.bias"])
        return next((at for at in self.prefixes if any(at + name in weights for name in patch)), None)


BLOCK = {
    **_linear("norm1", "norm1"),
    **_linear("attn.qkv", "attn.qkv"),
    "attn.q.weight": ("attn.q.weight",),
    "attn.k.weight": ("attn.k.weight",),
    "attn.v.weight": ("attn.v.weight",),
    "attn.q.bias": ("attn.q.bias", "attn.q_bias"),
    "attn.k.bias": ("attn.k.bias",),
    "attn.v.bias": ("attn.v.bias", "attn.v_bias"),
    **_linear("attn.proj", "attn.proj"),
    "ls1.gamma": ("ls1.gamma", "gamma_1"),  # LayerScale: timm's name, VideoMAE's name
    **_linear("norm2", "norm2"),
    **_linear("mlp.fc1", "mlp.fc1"),
    **_linear("mlp.fc2", "mlp.fc2"),
    "ls2.gamma": ("ls2.gamma", "gamma_2"),
}

VIDEOMAE = Layout(
    prefixes=("", "encoder."),
    blocks="blocks",
    stem={**_linear("patch", "patch_embed.proj"), **_linear("norm", "norm")},
    block=BLOCK,
)

MAE = Layout(
    prefixes=("", "encoder."),
    blocks="blocks",
    stem={
        **VIDEOMAE.stem,
        "cls_token": ("cls_token",),
        "positions.joint": ("pos_embed",),
        "positions.spatial": ("pos_embed_spatial",),
        "positions.temporal": ("pos_embed_temporal",),
        "positions.class": ("pos_embed_class",),
    },
    block=BLOCK,
)

HF_VIDEOMAE = Layout(
    prefixes=("", "videomae."),
    blocks="encoder.layer",
    stem={**_linear("patch", "embeddings.patch_embeddings.projection"), **_linear("norm", "layernorm")},
    block={
        **_linear("norm1", "layernorm_before"),
        "attn.q.weight": ("attention.attention.query.weight",),
        "attn.k.weight": ("attention.attention.key.weight",),
        "attn.v.weight": ("attention.attention.value.weight",),
        # transformers 4 has q_bias and v_bias, 5 has those of the linear layers
        "attn.q.bias": ("attention.attention.query.bias", "attention.attention.q_bias"),
        "attn.k.bias": ("attention.attention.key.bias",),
        "attn.v.bias": ("attention.attention.value.bias", "attention.attention.v_bias"),
        **_linear("attn.proj", "attention.output.dense"),
        **_linear("norm2", "layernorm_after"),
        **_linear("mlp.fc1", "intermediate.dense"),
        **_linear("mlp.fc2", "output.dense"),
    },
)

DIFFMAE = Layout(
    prefixes=("", "encoder."),
    blocks="blocks",
    stem={
        **_linear("patch", "patch_embed"),
        **_linear("norm", "norm"),
        "cls_token": ("cls_token",),
        "positions.joint": ("positions.joint",),
        "positions.spatial": ("positions.spatial",),
        "positions.temporal": ("positions.temporal",),
    },
    block=BLOCK,
)

LAYOUTS = {
    "mae": MAE,
    "mae_st": MAE,
    "videomae": VIDEOMAE,
    "hf_videomae": HF_VIDEOMAE,
    "timm": MAE,
    "diffmae": DIFFMAE,
}


class Weights(NamedTuple):
    """An encoder's weights under our names, as the file shapes them.

    Attributes:
        source: one of SOURCES that fits.
        tensors: float32; those of a block are ``blocks.i.…``.
        depth, width, hidden: of the transformer; hidden is that of the MLPs.
        skipped: keys of the file that belong to a decoder or head.
    """

    source: str
    tensors: dict[str, Tensor]
    depth: int
    width: int
    hidden: int
    skipped: list[str]


def sources_of(weights: dict[str, Tensor]) -> tuple[str, ...]:
    """The sources whose layout a file has; none where it has no known patch embedding."""
    if DIFFMAE.prefix(weights) is not None:
        return ("diffmae",)
    if HF_VIDEOMAE.prefix(weights) is not None:
        return ("hf_videomae",)
    prefix = MAE.prefix(weights)
    if prefix is None:
        return ()
    positions = any(key.startswith(f"{prefix}pos_embed") for key in weights)
    apart = any(key.endswith(".attn.q.weight") and not NO_ENCODER.match(key) for key in weights)
    kernel = weights.get(f"{prefix}patch_embed.proj.weight")
    if kernel is None:  # an error is due, in the name of whichever it is
        return ("mae", "mae_st", "timm", "videomae") if positions else ("videomae", "mae", "mae_st", "timm")
    if kernel.ndim == 4:
        return ("mae", "timm")
    # Of those with 3-D patches, VideoMAE alone stores no positions and has one matrix for q, k and v.
    return ("mae_st",) if positions or apart else ("videomae",)


def read_weights(checkpoint: Checkpoint, source: str = "auto") -> Weights:
    """Takes an encoder's weights out of a file, strictly.

    Args:
        source: one of SOURCES, or ``auto`` for what the keys say.

    Raises:
        InputError: an unknown source or one that the keys are not of, or keys or shapes that are
            missing, unknown or wrong; the message lists them.
    """
    path, weights = checkpoint.path, checkpoint.weights
    source = source.replace("-", "_")
    if source not in ("auto", *SOURCES):
        raise InputError(f"unknown source {source!r}; there are auto, {', '.join(SOURCES)}")
    fitting = sources_of(weights)
    if not fitting:
        raise InputError(
            f"{path}: not the weights of {', '.join(SOURCES)}: missing patch_embed.proj.weight (mae, mae_st, "
            "videomae, timm), embeddings.patch_embeddings.projection.weight (hf_videomae) or "
            f"patch_embed.weight (diffmae); its keys are {_some(list(weights))}"
        )
    if source == "auto":
        source = fitting[0]
    elif source not in fitting:
        raise InputError(f"{path}: its keys are those of {' or '.join(fitting)} and not of {source}")
    layout = LAYOUTS[source]
    names, missing = _names(layout, checkpoint, source)
    read = set(names.values())
    skipped = [key for key in weights if key not in read and NO_ENCODER.match(key)]
    problems = [f"missing {key}" for key in missing]
    problems += [f"unknown {key}" for key in weights if key not in read and key not in skipped]
    if problems:
        raise InputError(f"{path}: not the weights of a plain {source} encoder: {'; '.join(problems)}")
    tensors = {ours: weights[key].float() for ours, key in names.items()}
    width, hidden = _check_shapes(path, tensors, names, (2,) if layout is DIFFMAE else (4, 5))
    depth = len({ours.split(".")[1] for ours in names if ours.startswith("blocks.")})
    return Weights(source, tensors, depth, width, hidden, skipped)


def _names(layout: Layout, checkpoint: Checkpoint, source: str) -> tuple[dict[str, str], list[str]]:
    """What the file has, our name -> the file's, and the keys that it lacks."""
    weights = checkpoint.weights
    prefix = layout.prefix(weights)
    assert prefix is not None
    start = f"{prefix}{layout.blocks}."
    numbers = [re.match(r"\d+", key.removeprefix(start)) for key in weights if key.startswith(start)]
    depth = 1 + max((int(number[0]) for number in numbers if number), default=0)
    names: dict[str, str] = {}
    missing: list[str] = []

    def look_up(ours: list[str], at: list[str], alternatives: tuple[str, ...], required: bool) -> None:
        """Finds one kind of weight at all its places, under one name; if not required, all or none."""
        there = Counter(name for name in alternatives for place in at if place + name in weights)
        if there or required:
            name = there.most_common(1)[0][0] if there else alternatives[0]
            names.update(
                (o, place + name) for o, place in zip(ours, at, strict=True) if place + name in weights
            )
            missing.extend(place + name for place in at if place + name not in weights)

    for name, required in _wanted_stem(layout, checkpoint, prefix, source).items():
        look_up([name], [prefix], layout.stem[name], required)
    at = [f"{start}{i}." for i in range(depth)]
    for name, required in _wanted_block(layout, [k for k in weights if k.startswith(start)]).items():
        look_up([f"blocks.{i}.{name}" for i in range(depth)], at, layout.block[name], required)
    return names, missing


def _wanted_stem(layout: Layout, checkpoint: Checkpoint, prefix: str, source: str) -> dict[str, bool]:
    """What to read outside of the blocks, given what is there -> whether it is required."""
    there = {ours for ours, (name,) in layout.stem.items() if prefix + name in checkpoint.weights}
    wanted = {"patch.weight": True, "patch.bias": True}
    separable = {"positions.spatial", "positions.temporal"}
    if layout is MAE:
        wanted["cls_token"] = False
        if there & separable:
            wanted |= dict.fromkeys(sorted(separable), True)
            if there & {"cls_token", "positions.class"}:
                wanted |= {"cls_token": True, "positions.class": True}
        else:
            wanted["positions.joint"] = True
    elif layout is DIFFMAE:  # fixed positions are not stored, and an image has no temporal ones
        wanted |= {"cls_token": False, "positions.temporal": False}
        wanted |= {"positions.spatial": True} if there & separable else {"positions.joint": False}
    # No norm of tokens: a classifier's fc_norm is after pooling, or the configuration of HF or timm says so.
    if source == "hf_videomae":
        required = not checkpoint.config.get("use_mean_pooling", True)
    else:
        required = checkpoint.config.get("model_args", {}).get("final_norm", True)
        required = required and not any(key.startswith("fc_norm.") for key in checkpoint.weights)
    required = required or bool(there & {"norm.weight", "norm.bias"})
    return wanted | {"norm.weight": required, "norm.bias": required}


def _wanted_block(layout: Layout, keys: list[str]) -> dict[str, bool]:
    """What to read in each block, given the blocks' keys -> whether it is required."""

    def there(ours: str) -> bool:
        endings = tuple(f".{name}" for name in layout.block.get(ours, ()))
        return any(key.endswith(endings) for key in keys if endings)

    wanted = dict.fromkeys(layout.block, True)
    wanted |= {name: False for name in ("ls1.gamma", "ls2.gamma") if name in layout.block}
    for name in ("q", "k", "v"):
        wanted[f"attn.{name}.bias"] = name != "k" and (there("attn.q.bias") or there("attn.v.bias"))
    if "attn.qkv.weight" in layout.block:  # one matrix for all three, or three
        apart = there("attn.q.weight")
        wanted["attn.qkv.bias"] = False
        unwanted = ["attn.qkv.weight", "attn.qkv.bias"] if apart else [f"attn.{n}.weight" for n in "qkv"]
        if there("attn.qkv.bias") and not apart:
            unwanted += [f"attn.{name}.bias" for name in "qkv"]
        wanted = {name: required for name, required in wanted.items() if name not in unwanted}
    return wanted


def _check_shapes(
    path: Path, tensors: dict[str, Tensor], names: dict[str, str], ranks: tuple[int, ...]
) -> tuple[int, int]:
    """The width and the MLPs' hidden width, once all shapes agree with them."""
    kernel = tensors["patch.weight"]
    if kernel.ndim not in ranks or (kernel.ndim > 2 and kernel.shape[1] != 3):
        raise InputError(
            f"{path}: {names['patch.weight']} is {list(kernel.shape)}; patches must have 3 channels"
        )
    d, h = kernel.shape[0], tensors["blocks.0.mlp.fc1.weight"].shape[0]
    vector = (
        "patch.bias",
        "norm.weight",
        "norm.bias",
        "norm1.weight",
        "norm1.bias",
        "norm2.weight",
        "norm2.bias",
    )
    wanted: dict[str, tuple[int, ...]] = {
        **dict.fromkeys((*vector, "ls1.gamma", "ls2.gamma", "mlp.fc2.bias"), (d,)),
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
        if name in wanted and shape != wanted[name]:
            problems.append(f"{names[ours]} is {list(shape)} and not {list(wanted[name])}")
        elif name in tables and (
            shape[-1] != d or 0 in shape or shape[:-2] not in ((), (1,)) or len(shape) < 2
        ):
            problems.append(f"{names[ours]} is {list(shape)} and not [tokens, {d}]")
    if problems:
        raise InputError(f"{path}: shapes do not fit together: {'; '.join(problems)}")
    return d, h


def _some(keys: list[str], most: int = 8) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")
