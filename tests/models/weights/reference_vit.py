"""A ViT by the book, and its weights as each project writes them down."""

from copy import deepcopy

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from diffmae_video import load_encoder
from tests.tiny_models import tiny_diffmae

D, HIDDEN, HEADS, DEPTH, PATCH, GRID = 24, 40, 3, 2, 8, 4  # a width that does not tell the heads


class Reference:
    """A ViT with random weights, written out: Conv3d, attention by hand, positions added."""

    def __init__(
        self, t=2, steps=2, cls=False, separable=True, biases="qkv", scale=False, norm=True, eps=1e-6
    ):
        def draw(*shape):
            return (0.3 * torch.randn(shape)).double()  # so that a tolerance of 1e-5 is far from rounding

        self.eps = eps
        self.kernel, self.bias = draw(D, 3, t, PATCH, PATCH), draw(D)
        self.cls, self.cls_position = (draw(1, 1, D), draw(1, 1, D)) if cls else (None, None)
        self.spatial, self.temporal = draw(1, GRID * GRID, D), draw(1, steps, D)
        self.table = draw(1, steps * GRID * GRID, D)
        if separable:
            self.table = torch.cat([self.spatial + self.temporal[:, i : i + 1] for i in range(steps)], dim=1)
        self.blocks = [
            {
                "ln1": (1 + draw(D), draw(D)),
                **{n: (draw(D, D), draw(D) if n in biases else torch.zeros(D).double()) for n in "qkv"},
                "proj": (draw(D, D), draw(D)),
                "scale1": draw(D) if scale else torch.ones(D).double(),
                "ln2": (1 + draw(D), draw(D)),
                "fc1": (draw(HIDDEN, D), draw(HIDDEN)),
                "fc2": (draw(D, HIDDEN), draw(D)),
                "scale2": draw(D) if scale else torch.ones(D).double(),
            }
            for _ in range(DEPTH)
        ]
        self.norm = (1 + draw(D), draw(D)) if norm else None

    def __call__(self, clip):
        """Patch tokens [B, N, D] of a clip [B, 3, T, H, W]."""
        clip = clip.double()
        x = F.conv3d(clip, self.kernel, self.bias, stride=self.kernel.shape[2:]).flatten(2).transpose(1, 2)
        x = x + self.table
        if self.cls is not None:
            x = torch.cat([(self.cls + self.cls_position).expand(len(x), -1, -1), x], dim=1)
        for b in self.blocks:
            y = F.layer_norm(x, (D,), *b["ln1"], self.eps)
            q, k, v = (F.linear(y, *b[n]).unflatten(-1, (HEADS, -1)).transpose(1, 2) for n in "qkv")
            y = ((q @ k.transpose(-1, -2) / (D / HEADS) ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
            x = x + b["scale1"] * F.linear(y, *b["proj"])
            y = F.gelu(F.linear(F.layer_norm(x, (D,), *b["ln2"], self.eps), *b["fc1"]))
            x = x + b["scale2"] * F.linear(y, *b["fc2"])
        if self.norm is not None:
            x = F.layer_norm(x, (D,), *self.norm, self.eps)
        return x if self.cls is None else x[:, 1:]


def put(weights, name, pair):
    weights[f"{name}.weight"], weights[f"{name}.bias"] = pair


def timm_like(ref, kernel, attention):
    """What mae, mae_st, VideoMAE and timm have in common; ``attention`` adds q, k and v of a block."""
    weights = {}
    put(weights, "patch_embed.proj", (kernel, ref.bias))
    for i, block in enumerate(ref.blocks):
        at = f"blocks.{i}."
        put(weights, at + "norm1", block["ln1"])
        attention(weights, at + "attn.", block)
        put(weights, at + "attn.proj", block["proj"])
        put(weights, at + "norm2", block["ln2"])
        put(weights, at + "mlp.fc1", block["fc1"])
        put(weights, at + "mlp.fc2", block["fc2"])
    if ref.norm is not None:
        put(weights, "norm", ref.norm)
    return weights


def fused(weights, at, block):
    put(weights, at + "qkv", [torch.cat([block[n][i] for n in "qkv"]) for i in (0, 1)])


def mae_weights(ref):
    """MAE's and timm's: an image's model, q, k and v in one matrix."""
    weights = timm_like(ref, ref.kernel[:, :, 0], fused)
    weights["pos_embed"] = ref.table
    if ref.cls is not None:
        weights["cls_token"] = ref.cls
        weights["pos_embed"] = torch.cat([ref.cls_position, ref.table], dim=1)
    return weights


def mae_st_weights(ref, separable=True, biases="qkv"):
    def apart(weights, at, block):
        for name in "qkv":
            weights[f"{at}{name}.weight"] = block[name][0]
            if name in biases:
                weights[f"{at}{name}.bias"] = block[name][1]

    weights = timm_like(ref, ref.kernel, apart)
    if separable:
        weights |= {"pos_embed_spatial": ref.spatial, "pos_embed_temporal": ref.temporal}
    else:
        weights["pos_embed"] = ref.table
    if ref.cls is not None:
        weights["cls_token"] = ref.cls
        if separable:
            weights["pos_embed_class"] = ref.cls_position
        else:
            weights["pos_embed"] = torch.cat([ref.cls_position, ref.table], dim=1)
    return weights


def sinusoid(count):
    """VideoMAE's table, value by value."""
    rows = [
        [
            (torch.sin if j % 2 == 0 else torch.cos)(torch.tensor(n / 10000 ** (2 * (j // 2) / D))).item()
            for j in range(D)
        ]
        for n in range(count)
    ]
    return torch.tensor(rows)[None].double()


def videomae_reference(**kwargs):
    ref = Reference(biases="qv", **kwargs)
    ref.table = sinusoid(2 * GRID * GRID)
    return ref


def videomae_weights(ref, prefix="", scale=False):
    def attention(weights, at, block):
        weights[at + "qkv.weight"] = torch.cat([block[n][0] for n in "qkv"])
        weights[at + "q_bias"], weights[at + "v_bias"] = block["q"][1], block["v"][1]
        if scale:
            outer = at.removesuffix("attn.")
            weights[outer + "gamma_1"], weights[outer + "gamma_2"] = block["scale1"], block["scale2"]

    return {prefix + key: value for key, value in timm_like(ref, ref.kernel, attention).items()}


def hf_weights(ref, prefix="", old=False):
    weights = {}
    put(weights, "embeddings.patch_embeddings.projection", (ref.kernel, ref.bias))
    for i, block in enumerate(ref.blocks):
        at = f"encoder.layer.{i}."
        put(weights, at + "layernorm_before", block["ln1"])
        for name, letter in (("query", "q"), ("key", "k"), ("value", "v")):
            weights[f"{at}attention.attention.{name}.weight"] = block[letter][0]
            if letter != "k":
                bias = f"{letter}_bias" if old else f"{name}.bias"
                weights[f"{at}attention.attention.{bias}"] = block[letter][1]
        put(weights, at + "attention.output.dense", block["proj"])
        put(weights, at + "layernorm_after", block["ln2"])
        put(weights, at + "intermediate.dense", block["fc1"])
        put(weights, at + "output.dense", block["fc2"])
    if ref.norm is not None:
        put(weights, "layernorm", ref.norm)
    return {prefix + key: value for key, value in weights.items()}


def save(path, weights, wrapper="model"):
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({wrapper: weights, "epoch": 3} if wrapper else weights, path)
    return path


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5, check_dtype=False)


@torch.no_grad()
def check(path, ref, clip=None, **kwargs):
    if clip is None:
        clip = torch.randn(2, 3, 4, GRID * PATCH, GRID * PATCH)
    encoder = load_encoder(path, num_heads=HEADS, **kwargs)
    assert not encoder.training
    close(deepcopy(encoder).double()(clip.double()), ref(clip[:, :, None] if clip.ndim == 4 else clip))
    return encoder


SIZES = {"image_size": GRID * PATCH, "num_frames": 4}


LAYOUTS = {
    "mae": lambda: mae_weights(Reference(t=1, steps=1, cls=True)),
    "timm": lambda: mae_weights(Reference(t=1, steps=1)),
    "mae_st": lambda: mae_st_weights(Reference(cls=True)),
    "mae_st joint": lambda: mae_st_weights(Reference(separable=False), separable=False),
    "videomae": lambda: videomae_weights(videomae_reference(), "encoder."),
    "hf_videomae": lambda: hf_weights(videomae_reference(), "videomae."),
    "diffmae": lambda: tiny_diffmae(encoder={"positions": "learned", "class_token": True}).state_dict(),
}
