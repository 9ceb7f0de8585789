"""How each project names an encoder's weights.

A layout maps our name of each weight to the names in a file. Our names are timm's where timm has one.
"""

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass

SOURCES = ("mae", "mae_st", "videomae", "hf_videomae", "timm", "diffmae")

# Modules beside an encoder: decoders (MAE, VideoMAE, SlowFast's pred_head), and a classifier's head and its
# fc_norm, which follows the mean over tokens and so is not a norm of tokens.
OTHER_MODULES = re.compile(
    r"decoder|encoder_to_decoder\.|mask_token$|pred_head\.|fc_norm\.|head\.|classifier\.|attn_pool\."
)
# Where a checkpoint holds two encoders, their projects evaluate this one (DINO's and V-JEPA's averages).
EVALUATED = ("teacher", "target_encoder")


def _linear(ours: str, *theirs: str) -> dict[str, tuple[str, ...]]:
    """The weight and bias of a module; several names are alternatives."""
    return {f"{ours}.{part}": tuple(f"{name}.{part}" for name in theirs) for part in ("weight", "bias")}


@dataclass(frozen=True)
class Layout:
    """The names of an encoder's weights: ours -> alternatives in the file."""

    prefixes: tuple[str, ...]  # what the project itself may put before the encoder's keys
    blocks: str  # what precedes a block's number
    stem: dict[str, tuple[str, ...]]  # the weights outside the blocks; patch identifies the layout
    block: dict[str, tuple[str, ...]]  # the weights of a block, without blocks.i

    def find(self, keys: Iterable[str]) -> list[str]:
        """The prefixes of all encoders of this layout in a file, such as ``model.encoder.``."""
        patch = (*self.stem["patch.weight"], *self.stem["patch.bias"])
        found = {
            key.removesuffix(name)
            for key in keys
            for name in patch
            if key == name or key.endswith(f".{name}")
        }
        return sorted(prefix for prefix in found if not re.search(r"(^|\.)(decoder|predictor)", prefix))

    def foreign(self, prefix: str) -> str:
        """The part of a prefix that the project does not write itself: ``model.`` of ``model.encoder.``."""
        for own in sorted(self.prefixes, key=len, reverse=True):
            outer = prefix.removesuffix(own)
            if prefix.endswith(own) and (not outer or outer.endswith(".")):
                break
        return outer

    def name(self, ours: str, known: Container[str] = ()) -> str:
        """The file's name of one of our weights: the alternative among ``known``, or else the first."""
        start, alternatives = "", self.stem.get(ours, ())
        if block := re.match(r"blocks\.(\d+)\.", ours):
            start, alternatives = f"{self.blocks}.{block[1]}.", self.block[ours.removeprefix(block[0])]
        return next((start + name for name in alternatives if start + name in known), start + alternatives[0])


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
    "ls1.gamma": ("ls1.gamma", "gamma_1"),  # LayerScale: the names of timm and of VideoMAE
    **_linear("norm2", "norm2"),
    **_linear("mlp.fc1", "mlp.fc1"),
    **_linear("mlp.fc2", "mlp.fc2"),
    "ls2.gamma": ("ls2.gamma", "gamma_2"),
}

# VideoMAE has biases of q and v only. A full one without stored positions is another model's (V-JEPA 2's).
VIDEOMAE = Layout(
    prefixes=("", "encoder."),
    blocks="blocks",
    stem={**_linear("patch", "patch_embed.proj"), **_linear("norm", "norm")},
    block={name: names for name, names in BLOCK.items() if name != "attn.qkv.bias"},
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
        # The biases are parameters of their own or of the linear layers, depending on the version.
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
